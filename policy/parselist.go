package policy

import (
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// Bounds of what a policy may ask of a list by URL. Who provides a list for
// nothing does not want to be asked every second.
const (
	minListRefresh = time.Minute
	maxListRefresh = 30 * 24 * time.Hour
	maxListURL     = 2 << 10
)

func (p *parser) readLists(v strictyaml.Value) {
	p.named(v, "list", p.lists, func(name string, key, value strictyaml.Value) {
		identifier(key, "a list", name)
		l := ListSource{Position: key.Position(), Name: name}
		var file strictyaml.Value
		var ofURL []strictyaml.Value // the keys that only a list by URL has
		only := func(read func(strictyaml.Value)) func(strictyaml.Value) {
			return func(v strictyaml.Value) { ofURL = append(ofURL, v); read(v) }
		}
		ok := value.Mapping(strictyaml.Shape{
			Noun: "list",
			Fields: map[string]func(strictyaml.Value){
				"file":     func(v strictyaml.Value) { file = v; l.File, _ = v.Line() },
				"url":      intoListURL(&l.URL),
				"refresh":  only(func(v strictyaml.Value) { l.Refresh, _ = v.Duration(minListRefresh, maxListRefresh) }),
				"sha256":   only(intoDigest(&l.SHA256)),
				"max_size": only(func(v strictyaml.Value) { l.MaxSize, _ = v.Size(1, maxListData) }),
			},
			Hints: map[string]string{
				"format":   "the format is recognised by itself",
				"path":     `a list on disk is named with "file"`,
				"interval": `how often it is fetched is "refresh"`,
				"checksum": `the checksum is "sha256"`,
			},
		})
		byURL := value.IsMapping() && value.Has("url")
		switch {
		case !ok:
		case byURL && l.File != "":
			file.Errorf("list %q has a url and a file: keep one of them; what was fetched is kept on disk by itself", name)
		case !byURL && l.File == "":
			value.Errorf("list %q has neither file nor url: write {file: lists/%s.txt} or {url: \"https://...\"}", name, name)
		case !byURL && len(ofURL) > 0:
			ofURL[0].Errorf("%q is for lists by url: list %q is a file, which is read as it is", ofURL[0].Name(), name)
		}
		p.doc.Lists = append(p.doc.Lists, l)
	})
}

// intoListURL reads where a list is fetched from.
func intoListURL(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.Line()
		if !ok {
			return
		}
		u, err := parseListURL(text)
		if err != nil {
			v.Errorf("%v", err)
			return
		}
		*into = u.Scheme + text[len(u.Scheme):] // in lower case, the rest as written
	}
}

func parseListURL(text string) (*url.URL, error) {
	const shape = "write it as https://lists.example/threats.txt"
	if len(text) > maxListURL {
		return nil, errors.New("the url of a list is too long: at most 2 KiB are taken")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the url of a list cannot be read: " + shape)
	case strings.ContainsAny(text, " \t"):
		return nil, errors.New("the url of a list has a space in it: write it as %20, or remove it")
	case u.Scheme == "file" || u.Scheme == "":
		return nil, errors.New("the url of a list begins with https:// or http://; a list on disk is named with \"file\"")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the url of a list must be https or http, not " + u.Scheme + ": " + shape)
	case u.Hostname() == "":
		return nil, errors.New("the url of a list names no host: " + shape)
	case u.User != nil:
		return nil, errors.New("the url of a list must have no user and no password: they would be read by everybody who can read the policy")
	case u.Fragment != "":
		return nil, errors.New("the url of a list has a #fragment, which no server sees: remove it")
	}
	return u, nil
}

// intoDigest reads a SHA-256 digest in hexadecimal, as sha256sum prints it.
func intoDigest(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.Line()
		if !ok {
			return
		}
		const digits = 64
		if _, err := hex.DecodeString(text); err != nil || len(text) != digits {
			v.Errorf("%q must be the %d hexadecimal digits that sha256sum prints of the list", v.Name(), digits)
			return
		}
		*into = strings.ToLower(text)
	}
}
