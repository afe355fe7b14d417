//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

const (
	pause  = 500 * time.Microsecond // between tries
	warmUp = 50                     // tries that do not count
)

// tunnelTime times new tunnels, one after the other: from dialling until a byte
// has come back.
func tunnelTime(s settings) (report, error) {
	return s.oneByOne(func(i int) error {
		conn, err := s.open(plan.EchoKeep)
		if err != nil {
			return err
		}
		defer reset(conn)
		return echo(conn, token(i))
	}), nil
}

// getTime times GETs over one kept connection, one after the other.
func getTime(s settings) (report, error) {
	d := newGetting(s)
	conn, err := dial(d.to)
	if err != nil {
		return report{}, err
	}
	defer func() { reset(conn) }()
	reader := bufio.NewReader(conn)
	return s.oneByOne(func(int) error {
		err := getOnce(conn, reader, d.request)
		if err == nil || errors.Is(err, errWrong) {
			return err
		}
		// A proxy may close a connection that was used before.
		reset(conn)
		if conn, err = dial(d.to); err != nil {
			return err
		}
		reader.Reset(conn)
		return getOnce(conn, reader, d.request)
	}), nil
}

func getOnce(conn net.Conn, reader *bufio.Reader, request []byte) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Equal(body, plan.Body) {
		return fmt.Errorf("%w: status %d, page %.40q", errWrong, response.StatusCode, body)
	}
	return nil
}

// oneByOne times a try again and again, with a pause between, for as long as
// the settings say or until it was done often enough.
func (s settings) oneByOne(try func(int) error) report {
	var r report
	began := time.Now()
	for i := 0; i < s.count+warmUp && time.Since(began) < s.span; i++ {
		time.Sleep(pause)
		start := time.Now()
		err := try(i)
		took := time.Since(start)
		switch {
		case err != nil:
			r.note(err)
		case i >= warmUp:
			r.n++
			r.took = append(r.took, took)
		}
	}
	return r
}
