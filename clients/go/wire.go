package guestfs

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The service's code points for bytes that are not UTF-8: escapeBase plus the byte, from 0x80.
const (
	escapeBase  = 0xEF00
	escapeFirst = 0xEF80
	escapeLast  = 0xEFFF
)

// rawCodec passes messages through: the generated code encodes and decodes them.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	return *v.(*[]byte), nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// toWire converts a string of any bytes to what the service takes for it.
func toWire(s string) string {
	plain := true
	for i, r := range s {
		if r >= escapeFirst && r <= escapeLast || r == utf8.RuneError && s[i] != 0xEF {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r >= escapeFirst && r <= escapeLast {
			// In a name of a guest, one of these code points is bytes as well.
			for _, c := range []byte(s[i : i+size]) {
				b.WriteRune(escapeBase + rune(c))
			}
		} else {
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// fromWire is the opposite of toWire.
func fromWire(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= escapeFirst && r <= escapeLast }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r >= escapeFirst && r <= escapeLast {
			b.WriteByte(byte(r - escapeBase))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// field is one field of a message.
type field struct {
	number protowire.Number
	varint uint64
	fixed  uint32
	data   []byte
}

func (f field) text() string   { return fromWire(string(f.data)) }
func (f field) bytes() []byte  { return append([]byte{}, f.data...) }
func (f field) int32() int32   { return int32(f.varint) }
func (f field) uint32() uint32 { return uint32(f.varint) }
func (f field) int64() int64   { return int64(f.varint) }
func (f field) uint64() uint64 { return f.varint }

func (f field) percent() float32 { return math.Float32frombits(f.fixed) }

func (f field) char() byte {
	if text := f.text(); text != "" {
		return text[0]
	}
	return 0
}

func (f field) uuid() (uuid [32]byte) {
	copy(uuid[:], f.data)
	return uuid
}

// eachField calls take for each field of a message, in order.
func eachField(message []byte, take func(field)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("a message that cannot be read: %w", protowire.ParseError(n))
		}
		message = message[n:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(message)
		case protowire.Fixed32Type:
			f.fixed, n = protowire.ConsumeFixed32(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("a message that cannot be read, in field %d: %w", number, protowire.ParseError(n))
		}
		message = message[n:]
		take(f)
	}
	return nil
}

func appendText(message []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, number, protowire.BytesType), s)
}

func appendBytes(message []byte, number protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), data)
}

func appendNumber(message []byte, number protowire.Number, value int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, number, protowire.VarintType), uint64(value))
}
