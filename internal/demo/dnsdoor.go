package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// knockTimeout bounds one question at either door.
const knockTimeout = 10 * time.Second

// What a door can say.
const (
	saysOpen    = "open"
	saysRefused = "refused"
)

// said is what one door said, and why, as far as it tells.
type said struct {
	word   string // saysOpen or saysRefused
	reason string // of a refusal
}

// Extended DNS errors: the option's code, and the one that means "blocked"
// (RFC 8914 §2 and §4.16).
const (
	optionEDE  = 15
	edeBlocked = 15
)

// askDNS asks the DNS door for the address of name, from the desk of p.
func askDNS(ctx context.Context, door string, p person, name string) (said, error) {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: p.desk.AsSlice()}}
	conn, err := dialer.DialContext(ctx, "udp", door)
	if err != nil {
		return said{}, fmt.Errorf("ask the DNS door: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(knockTimeout)); err != nil {
		return said{}, fmt.Errorf("ask the DNS door: %w", err)
	}
	query, err := addressQuery(name)
	if err != nil {
		return said{}, fmt.Errorf("ask for %q: %w", name, err)
	}
	if _, err := conn.Write(query); err != nil {
		return said{}, fmt.Errorf("ask the DNS door: %w", err)
	}
	packet := make([]byte, 4096)
	n, err := conn.Read(packet)
	if err != nil {
		return said{}, fmt.Errorf("hear the DNS door: %w", err)
	}
	return readAnswer(packet[:n], query)
}

func addressQuery(name string) ([]byte, error) {
	full, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	var edns dnsmessage.ResourceHeader
	if err := edns.SetEDNS0(1232, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	query := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: full, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: edns, Body: &dnsmessage.OPTResource{}}},
	}
	return query.Pack()
}

// readAnswer tells a refusal, 0.0.0.0 with the extended error "blocked", from
// an answer. Anything else is an error.
func readAnswer(packet, query []byte) (said, error) {
	var reply dnsmessage.Message
	if err := reply.Unpack(packet); err != nil {
		return said{}, fmt.Errorf("read the DNS door's reply: %w", err)
	}
	if reply.ID != binary.BigEndian.Uint16(query) || !reply.Response {
		return said{}, errors.New("the DNS door's reply is to another question")
	}
	reason, blocked := extendedError(&reply)
	for _, record := range reply.Answers {
		address, ok := record.Body.(*dnsmessage.AResource)
		switch {
		case !ok:
		case address.A == [4]byte{} && blocked:
			return said{word: saysRefused, reason: reason}, nil
		case address.A != [4]byte{} && !blocked:
			return said{word: saysOpen}, nil
		}
	}
	return said{}, fmt.Errorf("the DNS door's reply is neither an answer nor a refusal: %v, %d records, blocked %v",
		reply.RCode, len(reply.Answers), blocked)
}

func extendedError(reply *dnsmessage.Message) (text string, blocked bool) {
	for _, additional := range reply.Additionals {
		opt, ok := additional.Body.(*dnsmessage.OPTResource)
		if !ok {
			continue
		}
		for _, option := range opt.Options {
			if option.Code == optionEDE && len(option.Data) >= 2 && binary.BigEndian.Uint16(option.Data) == edeBlocked {
				return string(option.Data[2:]), true
			}
		}
	}
	return "", false
}
