package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// options are what is asked for.
type options struct {
	binary   string
	version  string
	time     int64
	bom      string
	licences string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "`file` to look into")
	flag.StringVar(&o.version, "version", "", "of the program")
	flag.Int64Var(&o.time, "time", 0, "of its last commit, in `seconds` since 1970")
	flag.StringVar(&o.bom, "bom", "", "`file` for the bill of materials")
	flag.StringVar(&o.licences, "licences", "", "`file` for the licences")
	flag.Parse()
	if o.binary == "" || o.version == "" || o.bom == "" || o.licences == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	info, err := buildinfo.ReadFile(o.binary)
	if err != nil {
		return fmt.Errorf("read what %s was built from: %w", o.binary, err)
	}
	content, err := os.ReadFile(o.binary)
	if err != nil {
		return fmt.Errorf("read the binary: %w", err)
	}
	parts, err := partsOf(info)
	if err != nil {
		return err
	}
	var bom bytes.Buffer
	if err := writeBOM(&bom, program{info, o.version, content, time.Unix(o.time, 0).UTC()}, parts); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	var licences bytes.Buffer
	writeLicences(&licences, parts)
	return errors.Join(
		os.WriteFile(o.bom, bom.Bytes(), 0o644),
		os.WriteFile(o.licences, licences.Bytes(), 0o644),
	)
}
