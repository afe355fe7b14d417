// Command image makes sallyport's container image without a container engine:
//
//	image certificates                  the authorities that the image trusts, as PEM
//	image build --program ARCH=FILE …   the image, as an OCI layout and as archives
//
// Both ways to an image, this and ../Dockerfile, take the certificates from
// here, and a test in ../check compares what else they say: user, entry point,
// ports, health check and labels.
//
// It is a module of its own, so that its libraries are none of the product's:
// go-containerregistry (Apache-2.0) knows the formats of images, and
// golang.org/x/crypto/x509roots (BSD-3-Clause) brings Mozilla's authorities. The
// same sources, built by the same Go, make the same bytes: nothing is read but
// the flags and the programs, and every time is that of --created.
package main
