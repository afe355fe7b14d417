// Sbom says what a sallyport binary is made of. It reads what the Go command noted
// in the binary itself, as `go version -m` shows it, so that what it says is what was
// linked and not what go.mod asks for, and writes two files:
//
//   - a bill of materials, CycloneDX 1.6 as JSON: the program, every module in it
//     and Go's standard library, with version, package URL, licence, and the
//     checksum by which the Go command knew the module;
//   - the licences of all these, word for word, since most ask that they go with
//     the binary.
//
// Usage:
//
//	sbom -binary sallyport -version 1.2.3 -time 1585411200 -bom sallyport.cdx.json -licences licences.txt
//
// The same binary, version and time give the same bytes. A module without a licence
// that it recognises is an error: somebody has to look.
//
// It is a module of its own, so that the product does not need the library that knows
// the format: CycloneDX's own (Apache-2.0, without dependencies outside its tests).
package main
