package main

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// User and group of the gateway: a number that no distribution gives to anybody,
// so that a volume's owner means the same everywhere.
const nonRoot = 65532

// programPath is where the binary is in the image, as in the packages.
const programPath = "usr/bin/sallyport"

// configuration is what an engine is told of the image. ../Dockerfile says the
// same, and why.
func (r release) configuration() v1.Config {
	return v1.Config{
		User:       "65532:65532",
		WorkingDir: "/",
		Env:        []string{"PATH=/usr/bin"},
		Entrypoint: []string{"/" + programPath},
		Cmd:        []string{"serve", "--config", "/etc/sallyport/sallyport.yaml"},
		ExposedPorts: map[string]struct{}{
			"1053/udp": {}, "1053/tcp": {}, "3128/tcp": {}, "8080/tcp": {}, "9180/tcp": {},
		},
		StopSignal: "SIGTERM",
		Labels:     r.labels(),
		Healthcheck: &v1.HealthConfig{
			Test:        []string{"CMD", "/" + programPath, "health", "--address", "127.0.0.1:9180"},
			Interval:    30 * time.Second,
			Timeout:     5 * time.Second,
			StartPeriod: time.Minute,
			Retries:     3,
		},
	}
}

// labels are the annotations of the OCI's image specification that say what
// this is and where it is from.
func (r release) labels() map[string]string {
	const (
		name    = "org.opencontainers.image."
		project = "https://github.com/sallyport/sallyport"
	)
	return map[string]string{
		name + "title":         "sallyport",
		name + "description":   "One policy, two doors: a gateway that decides which conferencing apps a network may use",
		name + "url":           project,
		name + "source":        project,
		name + "documentation": project + "/blob/main/docs/containers.md",
		name + "licenses":      "Apache-2.0",
		name + "version":       r.version,
		name + "revision":      r.revision,
	}
}
