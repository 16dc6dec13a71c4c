package guestfs

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// How often a call follows its session to another replica.
	moves = 4
	// Bytes in a message; the service accepts 1 MiB.
	pieceSize = 512 << 10
	// The field of the size, in the arguments of an upload.
	progressHint = 100
)

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// call is one call of an action: first its request is filled in, then it is made.
type call struct {
	g        *Guestfs
	op       string
	rpc      string
	request  []byte
	streamed bool
	// remote says that paths are on another machine than the server.
	remote bool
	err    *GuestfsError
}

func (g *Guestfs) begin(op, rpc string) *call {
	c := &call{g: g, op: op, rpc: "/guestfs.v1." + rpc}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.closed {
		c.err = closedHandleError(op)
	} else if g.lost != nil {
		c.err = g.lost
	}
	return c
}

func (c *call) text(number protowire.Number, value string) {
	if strings.ContainsRune(value, 0) && c.err == nil {
		c.err = argumentError(c.op, "an argument contains a NUL byte")
	}
	c.request = appendText(c.request, number, toWire(value))
}

// path is a path on the server; a local server has the same files, but another working directory.
func (c *call) path(number protowire.Number, value string) {
	if c.g.local != nil && value != "" && !c.remote {
		absolute, err := filepath.Abs(value)
		if err != nil && c.err == nil {
			c.err = localError(c.op, err)
		}
		value = absolute
	}
	c.text(number, value)
}

func (c *call) optPath(number protowire.Number, set bool, value string) {
	if set {
		c.path(number, value)
	}
}

func (c *call) texts(number protowire.Number, values []string) {
	for _, value := range values {
		c.text(number, value)
	}
}

func (c *call) optText(number protowire.Number, value *string) {
	if value != nil {
		c.text(number, *value)
	}
}

func (c *call) buffer(number protowire.Number, value []byte) {
	c.request = appendBytes(c.request, number, value)
}

func (c *call) boolean(number protowire.Number, value bool) {
	if value {
		c.request = appendNumber(c.request, number, 1)
	} else {
		c.request = appendNumber(c.request, number, 0)
	}
}

func (c *call) integer(number protowire.Number, value int) {
	if (value < math.MinInt32 || value > math.MaxInt32) && c.err == nil {
		c.err = argumentError(c.op, "%d does not fit into 32 bits", value)
	}
	c.request = appendNumber(c.request, number, int64(value))
}

func (c *call) integer64(number protowire.Number, value int64) {
	c.request = appendNumber(c.request, number, value)
}

// pointer is an address in this process, which means nothing to a server.
func (c *call) pointer(protowire.Number, int64) {
	if c.err == nil {
		c.err = argumentError(c.op, "a domain object of libvirt cannot cross a network: use Add_domain")
	}
}

func (c *call) optString(number protowire.Number, set bool, value string) {
	if set {
		c.text(number, value)
	}
}

func (c *call) optBoolean(number protowire.Number, set, value bool) {
	if set {
		c.boolean(number, value)
	}
}

func (c *call) optInteger(number protowire.Number, set bool, value int) {
	if set {
		c.integer(number, value)
	}
}

func (c *call) optInteger64(number protowire.Number, set bool, value int64) {
	if set {
		c.integer64(number, value)
	}
}

// optTexts is a message of its own: unset and empty differ.
func (c *call) optTexts(number protowire.Number, set bool, values []string) {
	if !set {
		return
	}
	inner := &call{g: c.g, op: c.op, err: c.err}
	inner.texts(1, values)
	c.err = inner.err
	c.buffer(number, inner.request)
}

// responses makes the call, and gives its messages to take.
func (c *call) responses(take func([]byte) error) *GuestfsError {
	if c.err != nil {
		return c.err
	}
	for try := 0; ; try++ {
		begun, err := c.make(take)
		if err == nil {
			c.settle()
			return nil
		}
		if endpoint := elsewhere(err); endpoint != "" && !begun && try < moves {
			if err := c.g.follow(endpoint); err != nil {
				return localError(c.op, err)
			}
			continue
		}
		var own *GuestfsError
		if errors.As(err, &own) {
			return own
		}
		c.settle()
		return c.g.failed(c.op, err)
	}
}

// settle waits for callbacks, which may themselves cancel the call that they belong to.
func (c *call) settle() {
	if c.op != "user_cancel" {
		c.g.events.settle()
	}
}

// elsewhere is the address of the replica that has the session, if the error says so.
func elsewhere(err error) string {
	if info := errorInfo(err); info != nil && info.GetReason() == "SESSION_ELSEWHERE" {
		return info.GetMetadata()["endpoint"]
	}
	return ""
}

func (c *call) make(take func([]byte) error) (begun bool, err error) {
	conn := c.g.connection()
	if conn == nil {
		return false, closedHandleError(c.op)
	}
	if !c.streamed {
		var answer []byte
		if err := conn.Invoke(c.g.outgoing(), c.rpc, &c.request, &answer); err != nil {
			return false, err
		}
		return true, take(answer)
	}
	// Leaving early cancels the call.
	ctx, cancel := context.WithCancel(c.g.outgoing())
	defer cancel()
	stream, err := conn.NewStream(ctx, bothWays, c.rpc)
	if err != nil {
		return false, err
	}
	// An error of sending is that of the call, which RecvMsg has.
	if err := stream.SendMsg(&c.request); err == nil {
		_ = stream.CloseSend()
	}
	for {
		var answer []byte
		if err := stream.RecvMsg(&answer); err == io.EOF {
			return begun, nil
		} else if err != nil {
			return begun, err
		}
		begun = true
		if err := take(answer); err != nil {
			return begun, err
		}
	}
}

// first gives the fields with the number 1, which is the result, to take.
func (c *call) first(take func(field)) error {
	err := c.responses(func(answer []byte) error {
		return eachField(answer, func(f field) {
			if f.number == 1 {
				take(f)
			}
		})
	})
	return asError(err)
}

func (c *call) noResult() error {
	return c.first(func(field) {})
}

func (c *call) boolResult() (value bool, err error) {
	err = c.first(func(f field) { value = f.varint != 0 })
	return value, err
}

func (c *call) intResult() (value int, err error) {
	err = c.first(func(f field) { value = int(f.int32()) })
	return value, err
}

func (c *call) int64Result() (value int64, err error) {
	err = c.first(func(f field) { value = f.int64() })
	return value, err
}

func (c *call) textResult() (value string, err error) {
	err = c.first(func(f field) { value = f.text() })
	return value, err
}

func (c *call) optTextResult() (value *string, err error) {
	err = c.first(func(f field) {
		text := f.text()
		value = &text
	})
	return value, err
}

func (c *call) bytesResult() ([]byte, error) {
	value := []byte{}
	if err := c.first(func(f field) { value = f.bytes() }); err != nil {
		return nil, err
	}
	return value, nil
}

func (c *call) textsResult() ([]string, error) {
	values := []string{}
	if err := c.first(func(f field) { values = append(values, f.text()) }); err != nil {
		return nil, err
	}
	return values, nil
}

func (c *call) tableResult() (map[string]string, error) {
	table := map[string]string{}
	var problem error
	err := c.first(func(f field) {
		var pair [2]string
		problem = errors.Join(problem, eachField(f.data, func(f field) {
			if f.number == 1 || f.number == 2 {
				pair[f.number-1] = f.text()
			}
		}))
		table[pair[0]] = pair[1]
	})
	if err = c.whole(err, problem); err != nil {
		return nil, err
	}
	return table, nil
}

// whole is the error of a call: its own, or that of an answer that cannot be read.
func (c *call) whole(err, problem error) error {
	if err == nil && problem != nil {
		return localError(c.op, problem)
	}
	return err
}

func oneResult[T any](c *call, decode func([]byte) (T, error)) (*T, error) {
	var value T
	var problem error
	err := c.first(func(f field) { value, problem = decode(f.data) })
	return &value, c.whole(err, problem)
}

func listResult[T any](c *call, decode func([]byte) (T, error)) (*[]T, error) {
	values := []T{}
	var problem error
	err := c.first(func(f field) {
		value, err := decode(f.data)
		values, problem = append(values, value), errors.Join(problem, err)
	})
	if err = c.whole(err, problem); err != nil {
		return nil, err
	}
	return &values, nil
}

// download writes the file that the action answers with.
func (c *call) download(to io.Writer) error {
	c.streamed = true
	return asError(c.responses(func(answer []byte) error {
		var problem error
		err := eachField(answer, func(f field) {
			if f.number == 1 && problem == nil {
				if _, err := to.Write(f.data); err != nil {
					problem = localError(c.op, err)
				}
			}
		})
		return errors.Join(err, problem)
	}))
}

// lateFile is created with the first byte, as libguestfs does: not if the call fails.
type lateFile struct {
	name string
	file *os.File
}

func (f *lateFile) open() (err error) {
	if f.file == nil {
		f.file, err = os.Create(f.name)
	}
	return err
}

func (f *lateFile) Write(data []byte) (int, error) {
	if err := f.open(); err != nil {
		return 0, err
	}
	return f.file.Write(data)
}

// downloadFile does the same to a local file; "-" is standard output.
func (c *call) downloadFile(name string) error {
	if name == "-" {
		return c.download(os.Stdout)
	}
	file := &lateFile{name: name}
	err := c.download(file)
	if err == nil {
		// The file of nothing.
		if opening := file.open(); opening != nil {
			return localError(c.op, opening)
		}
	}
	if file.file != nil {
		if closing := file.file.Close(); closing != nil && err == nil {
			return localError(c.op, closing)
		}
	}
	return err
}

// uploadFile sends a local file; "-" is standard input.
func (c *call) uploadFile(name string) error {
	if name == "-" {
		return c.upload(os.Stdin)
	}
	if c.err != nil {
		return c.err
	}
	file, err := os.Open(name)
	if err != nil {
		return localError(c.op, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		c.request = appendNumber(c.request, progressHint, info.Size())
	}
	return c.upload(file)
}

// upload sends what a reader gives. It follows the session only as long as nothing was read.
func (c *call) upload(from io.Reader) error {
	if c.err != nil {
		return c.err
	}
	read := false
	for try := 0; ; try++ {
		err := c.send(from, &read)
		c.g.events.settle()
		if err == nil {
			return nil
		}
		var own *GuestfsError
		if errors.As(err, &own) {
			return own
		}
		if endpoint := elsewhere(err); endpoint != "" && !read && try < moves {
			if err := c.g.follow(endpoint); err != nil {
				return localError(c.op, err)
			}
			continue
		}
		return c.g.failed(c.op, err)
	}
}

func (c *call) send(from io.Reader, read *bool) error {
	conn := c.g.connection()
	if conn == nil {
		return closedHandleError(c.op)
	}
	// Leaving early cancels the call: the service must not take a part for the whole file.
	ctx, cancel := context.WithCancel(c.g.outgoing())
	defer cancel()
	stream, err := conn.NewStream(ctx, bothWays, c.rpc)
	if err != nil {
		return err
	}
	message := appendBytes(nil, 1, c.request)
	piece := make([]byte, pieceSize)
	for sending := stream.SendMsg(&message); sending == nil; sending = stream.SendMsg(&message) {
		n, err := io.ReadFull(from, piece)
		*read = *read || n > 0
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return localError(c.op, err)
		}
		if n == 0 {
			break
		}
		message = appendBytes(nil, 2, piece[:n])
	}
	// An error of sending is that of the call, which RecvMsg has.
	_ = stream.CloseSend()
	var answer []byte
	return stream.RecvMsg(&answer)
}
