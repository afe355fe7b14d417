package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

const mit = "The MIT License\n\nPermission is hereby granted, free\nof charge, to any person obtaining a copy"

func TestKindsOf(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{mit, "MIT"},
		{"Apache License\n   Version 2.0, January 2004", "Apache-2.0"},
		{"Redistribution and use in source and binary forms, with or without", "BSD-2-Clause"},
		{"Redistribution and use in source and\nbinary forms ... nor the names may be used to\n endorse or promote products", "BSD-3-Clause"},
		{mit + "\n\nApache License, Version 2.0", "MIT Apache-2.0"},
		{"All rights reserved.", ""},
	} {
		if got := strings.Join(kindsOf(test.text), " "); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// TestUnknownLicence has a module whose licence nobody knows, and one without: both
// are errors, and not holes in the bill.
func TestUnknownLicence(t *testing.T) {
	dir := t.TempDir()
	if _, err := newPart("example.com/none", "v1.0.0", "", dir); err == nil || !strings.Contains(err.Error(), "example.com/none v1.0.0 has no licence") {
		t.Errorf("no licence: %v", err)
	}
	if err := os.WriteFile(dir+"/LICENSE", []byte("Only on Tuesdays."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newPart("example.com/odd", "v1.0.0", "", dir); err == nil || !strings.Contains(err.Error(), "licence.go") {
		t.Errorf("odd licence: %v", err)
	}
	if err := os.WriteFile(dir+"/LICENSE", []byte(mit), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := newPart("example.com/free", "v1.0.0", "", dir)
	if err != nil || p.licence != "MIT" || len(p.texts) != 1 {
		t.Errorf("MIT: %+v, %v", p, err)
	}
}

// TestBillOfThisTest makes the bill of the test's own binary, which contains the
// library that writes it.
func TestBillOfThisTest(t *testing.T) {
	info, err := buildinfo.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	parts, err := partsOf(info)
	if err != nil {
		t.Fatal(err)
	}
	about := program{info, "1.2.3", []byte("the binary"), time.Unix(1585411200, 0).UTC()}
	var first, second, licences bytes.Buffer
	if err := writeBOM(&first, about, parts); err != nil {
		t.Fatal(err)
	}
	if err := writeBOM(&second, about, parts); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("two bills of one binary differ (%v)", err)
	}
	var bom cyclonedx.BOM
	if err := json.Unmarshal(first.Bytes(), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cyclonedx.SpecVersion1_6 || bom.Metadata.Timestamp != "2020-03-28T16:00:00Z" || bom.Metadata.Component.Version != "1.2.3" {
		t.Errorf("the bill begins %s", first.String()[:400])
	}
	licensed := map[string]string{}
	for _, c := range *bom.Components {
		licensed[c.Name] = (*c.Licenses)[0].Expression
		if !strings.HasPrefix(c.PackageURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s has the package URL %q", c.Name, c.PackageURL)
		}
	}
	if licensed["github.com/CycloneDX/cyclonedx-go"] != "Apache-2.0" || licensed["stdlib"] != "BSD-3-Clause" {
		t.Errorf("the bill lists %v", licensed)
	}
	writeLicences(&licences, parts)
	for _, want := range []string{"github.com/CycloneDX/cyclonedx-go v0.12.0 (Apache-2.0)", "Copyright 2009 The Go Authors"} {
		if !strings.Contains(licences.String(), want) {
			t.Errorf("the licences lack %q", want)
		}
	}
}
