package guestfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// fake is a server with scripted answers: by the name of the RPC, of the requests, which are raw messages.
type fake struct {
	mutex    sync.Mutex
	answers  map[string]func(requests [][]byte, send func([]byte)) error
	requests map[string][][]byte
	// refused are answered with an error at once, without a header.
	refused  map[string]error
	sessions []string
	ids      []string
	address  string
	server   *grpc.Server
}

func startFake(t *testing.T) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{requests: map[string][][]byte{}, address: listener.Addr().String()}
	f.answers = map[string]func([][]byte, func([]byte)) error{
		"CreateSession": answer(appendText(nil, 1, "s1")),
		"DeleteSession": answer(nil),
		"SetProgram":    answer(nil),
	}
	f.server = grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(f.handle))
	go func() { _ = f.server.Serve(listener) }()
	t.Cleanup(f.server.Stop)
	return f
}

func answer(message []byte) func([][]byte, func([]byte)) error {
	return func(_ [][]byte, send func([]byte)) error {
		send(message)
		return nil
	}
}

func fails(code codes.Code, text, reason string, facts map[string]string) func([][]byte, func([]byte)) error {
	return func([][]byte, func([]byte)) error {
		s, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Metadata: facts})
		if err != nil {
			return err
		}
		return s.Err()
	}
}

func (f *fake) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	rpc := method[strings.LastIndex(method, "/")+1:]
	f.mutex.Lock()
	script, ok := f.answers[rpc]
	refused := f.refused[rpc]
	given, _ := metadata.FromIncomingContext(stream.Context())
	f.sessions = append(f.sessions, strings.Join(given.Get(sessionKey), ","))
	f.ids = append(f.ids, strings.Join(given.Get(requestIDKey), ","))
	f.mutex.Unlock()
	if !ok {
		return status.Error(codes.Unimplemented, "unknown method")
	}
	if refused != nil {
		return refused
	}
	if rpc == "Subscribe" {
		if err := stream.SendHeader(metadata.MD{}); err != nil {
			return err
		}
	}
	var requests [][]byte
	for {
		var request []byte
		if err := stream.RecvMsg(&request); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		requests = append(requests, request)
	}
	f.mutex.Lock()
	f.requests[rpc] = requests
	f.mutex.Unlock()
	return script(requests, func(message []byte) { _ = stream.SendMsg(&message) })
}

func (f *fake) sent(rpc string) [][]byte {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.requests[rpc]
}

func (f *fake) refuse(rpc string, err error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.refused = map[string]error{rpc: err}
}

func (f *fake) script(rpc string, script func([][]byte, func([]byte)) error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.answers[rpc] = script
}

func connectTo(t *testing.T, f *fake) *Guestfs {
	t.Helper()
	g, err := Connect(context.Background(), Options{Server: f.address, Flags: CREATE_NO_ENVIRONMENT})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %#v, want %#v", got, want)
	}
}

func fieldsOf(t *testing.T, message []byte) (fields []field) {
	t.Helper()
	check(t, eachField(message, func(f field) { fields = append(fields, f) }))
	return fields
}

func TestArguments(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Mkfs", answer(nil))
	check(t, g.Mkfs("ext4", "/dev/sda1", &OptargsMkfs{Label_is_set: true, Label: "data", Blocksize: 1024}))
	fields := fieldsOf(t, f.sent("Mkfs")[0])
	same(t, len(fields), 3)
	same(t, []string{fields[0].text(), fields[1].text(), fields[2].text()}, []string{"ext4", "/dev/sda1", "data"})
	same(t, f.sessions[len(f.sessions)-1], "s1")
	seen := map[string]bool{}
	for _, id := range f.ids {
		if len(id) != 32 || seen[id] {
			t.Errorf("the request ID %q is not one of its own", id)
		}
		seen[id] = true
	}
}

func TestResults(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Exists", answer(appendNumber(nil, 1, 1)))
	exists, err := g.Exists("/")
	check(t, err)
	same(t, exists, true)
	f.script("Filesize", answer(appendNumber(nil, 1, 1<<40)))
	size, err := g.Filesize("/x")
	check(t, err)
	same(t, size, int64(1)<<40)
	f.script("ReadFile", answer(nil))
	content, err := g.Read_file("/x")
	check(t, err)
	same(t, content, []byte{})
	f.script("GetAppend", answer(nil))
	options, err := g.Get_append()
	check(t, err)
	same(t, options == nil, true)
	f.script("ListFilesystems", answer(appendBytes(nil, 1, appendText(appendText(nil, 1, "/dev/sda"), 2, "ext4"))))
	table, err := g.List_filesystems()
	check(t, err)
	same(t, table, map[string]string{"/dev/sda": "ext4"})
	f.script("LvsFull", answer(appendBytes(nil, 1, appendText(nil, 1, "lv"))))
	lvs, err := g.Lvs_full()
	check(t, err)
	same(t, []any{(*lvs)[0].Lv_name, (*lvs)[0].Snap_percent}, []any{"lv", float32(-1)})
	f.script("Ls", func(_ [][]byte, send func([]byte)) error {
		send(appendText(appendText(nil, 1, "a"), 1, "b\uefe4"))
		send(appendText(nil, 1, "c"))
		return nil
	})
	names, err := g.Ls("/")
	check(t, err)
	same(t, names, []string{"a", "b\xe4", "c"})
}

func TestNamesAreBytes(t *testing.T) {
	for _, name := range []string{"plain", "gr\u00fcn", "b\xe4r", "\xff\xfe", "\ufffd", "\uef80", ""} {
		same(t, fromWire(toWire(name)), name)
	}
	same(t, toWire("b\xe4r"), "b\uefe4r")
}

func TestErrors(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Cat", fails(codes.NotFound, "/x: No such file or directory", "ENOENT", nil))
	_, err := g.Cat("/x")
	var failure *GuestfsError
	if !errors.As(err, &failure) || !errors.Is(err, syscall.ENOENT) {
		t.Fatalf("%#v", err)
	}
	same(t, []any{failure.Op, failure.Errmsg, failure.Errno}, []any{"cat", "/x: No such file or directory", syscall.ENOENT})
	_, err = g.Ls("/x")
	if err == nil || !strings.Contains(err.Error(), "does not have this call") {
		t.Fatal(err)
	}
	for _, err := range []error{g.Set_memsize(1 << 40), g.Mkdir("a\x00b"), g.Upload("/nonexistent", "/x"), g.Mkdir_mode("/x", -1<<40)} {
		if !errors.As(err, &failure) || failure.Errno == 0 {
			t.Fatalf("%#v", err)
		}
	}
	if len(f.sent("SetMemsize"))+len(f.sent("Mkdir")) > 0 {
		t.Fatal("a wrong argument was sent")
	}
}

func TestClosedHandle(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, fieldsOf(t, f.sent("DeleteSession")[0])[0].text(), "s1")
	_, err := g.Cat("/x")
	for _, err := range []error{err, g.Close(), g.Upload("/x", "/y"), g.User_cancel(), g.Copy_in("/x", "/y")} {
		if err == nil || !strings.HasSuffix(err.Error(), "handle is closed") {
			t.Fatalf("%v", err)
		}
	}
}

func TestLostConnection(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.server.Stop()
	for range 2 {
		if _, err := g.Cat("/x"); err == nil || !strings.Contains(err.Error(), "no connection to the guestfs-grpc server") {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// relay passes on one connection to a server, until it is cut.
type relay struct {
	address  string
	listener net.Listener
	both     []net.Conn
	mutex    sync.Mutex
}

func startRelay(t *testing.T, server string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	r := &relay{address: listener.Addr().String(), listener: listener}
	t.Cleanup(r.cut)
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		other, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		r.mutex.Lock()
		r.both = []net.Conn{client, other}
		r.mutex.Unlock()
		go func() { _, _ = io.Copy(other, client) }()
		_, _ = io.Copy(client, other)
	}()
	return r
}

func (r *relay) cut() {
	_ = r.listener.Close()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, one := range r.both {
		_ = one.Close()
	}
}

func TestConnectionLostDuringCall(t *testing.T) {
	calls := map[string]func(g *Guestfs) error{
		"Cat":      func(g *Guestfs) error { _, err := g.Cat("/x"); return err },
		"Ls":       func(g *Guestfs) error { _, err := g.Ls("/"); return err },
		"Download": func(g *Guestfs) error { return g.Download_to("/x", io.Discard) },
		"Upload":   func(g *Guestfs) error { return g.Upload_from(bytes.NewReader(make([]byte, 4<<20)), "/x") },
	}
	for rpc, call := range calls {
		t.Run(rpc, func(t *testing.T) {
			f := startFake(t)
			r := startRelay(t, f.address)
			g, err := Connect(context.Background(), Options{Server: r.address, Flags: CREATE_NO_ENVIRONMENT})
			check(t, err)
			f.script(rpc, func(_ [][]byte, send func([]byte)) error {
				if rpc == "Ls" || rpc == "Download" {
					send(appendText(nil, 1, "a"))
				}
				r.cut()
				return nil
			})
			for _, err := range []error{call(g), g.Touch("/x")} {
				var failure *GuestfsError
				if !errors.As(err, &failure) || !strings.Contains(failure.Errmsg, "no connection to the guestfs-grpc server") {
					t.Fatalf("%#v", err)
				}
				same(t, failure.Errno, syscall.ECONNRESET)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNewerServer(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	// A field and a reason that this client does not know.
	f.script("Cat", answer(appendText(appendText(nil, 1, "text"), 999, "new")))
	text, err := g.Cat("/x")
	check(t, err)
	same(t, text, "text")
	f.script("Cat", fails(codes.FailedPrecondition, "not any more", "REASON_OF_TOMORROW", map[string]string{"fact": "new"}))
	_, err = g.Cat("/x")
	var failure *GuestfsError
	if !errors.As(err, &failure) {
		t.Fatalf("%#v", err)
	}
	same(t, []any{failure.Error(), failure.Reason, failure.Metadata["fact"]},
		[]any{"cat: not any more", "REASON_OF_TOMORROW", "new"})
}

func TestOlderServer(t *testing.T) {
	f := startFake(t)
	f.mutex.Lock()
	delete(f.answers, "SetProgram")
	f.mutex.Unlock()
	_, err := Connect(context.Background(), Options{Server: f.address, Flags: CREATE_NO_ENVIRONMENT})
	// Programs for the binding assert this type.
	failure, ok := err.(*GuestfsError)
	if !ok || failure.Op != "set_program" || !strings.Contains(failure.Errmsg, "does not have this call") {
		t.Fatalf("%#v", err)
	}
	same(t, fieldsOf(t, f.sent("DeleteSession")[0])[0].text(), "s1")
}

func TestAnswerThatIsNoMessage(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	broken := []byte{0xff, 0xff, 0xff}
	for _, message := range [][]byte{broken, appendBytes(nil, 1, broken)} {
		f.script("ListFilesystems", answer(message))
		f.script("LvsFull", answer(message))
		f.script("Statns", answer(message))
		_, table := g.List_filesystems()
		_, list := g.Lvs_full()
		_, one := g.Statns("/x")
		for _, err := range []error{table, list, one} {
			failure, ok := err.(*GuestfsError)
			if !ok || failure.Op == "" || !strings.Contains(failure.Errmsg, "cannot be read") {
				t.Fatalf("%#v", err)
			}
		}
	}
}

func TestNoServer(t *testing.T) {
	for address, text := range map[string]string{
		"127.0.0.1:1":     "no connection to the guestfs-grpc server at 127.0.0.1:1",
		"localhost":       "is not the address of a server",
		"unix:relative":   "must be absolute",
		"localhost:70000": "is not the address of a server",
	} {
		_, err := Connect(context.Background(), Options{Server: address})
		failure, ok := err.(*GuestfsError)
		if !ok || failure.Op != "create" || !strings.Contains(failure.Errmsg, text) {
			t.Fatalf("%s: %#v", address, err)
		}
	}
}

func TestAnotherReplica(t *testing.T) {
	f, other := startFake(t), startFake(t)
	g := connectTo(t, f)
	f.script("Cat", fails(codes.FailedPrecondition, "elsewhere", "SESSION_ELSEWHERE", map[string]string{"endpoint": other.address}))
	other.script("Cat", answer(appendText(nil, 1, "there")))
	text, err := g.Cat("/x")
	check(t, err)
	same(t, text, "there")
}

func TestReplicaIsNoLocalSocket(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Cat", fails(codes.FailedPrecondition, "elsewhere", "SESSION_ELSEWHERE", map[string]string{"endpoint": "unix:/run/x"}))
	if _, err := g.Cat("/x"); err == nil || !strings.Contains(err.Error(), "names a local socket") {
		t.Fatal(err)
	}
}

func TestEndOfLog(t *testing.T) {
	log := &logEnd{}
	for range 10_000 {
		_, _ = log.Write([]byte("a line of the log\n"))
	}
	if kept := log.String(); len(kept) > 2*logKept || !strings.HasSuffix(kept, "a line of the log\n") {
		t.Fatal(len(kept))
	}
}

func TestFiles(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Upload", answer(nil))
	content := bytes.Repeat([]byte("0123456789"), 200_000)
	name := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(name, content, 0o600))
	for _, upload := range []func() error{
		func() error { return g.Upload(name, "/x") },
		func() error { return g.Upload_from(bytes.NewReader(content), "/x") },
	} {
		check(t, upload())
		var sent []byte
		for _, request := range f.sent("Upload")[1:] {
			sent = append(sent, fieldsOf(t, request)[0].data...)
		}
		same(t, bytes.Equal(sent, content), true)
	}
	broken := io.MultiReader(bytes.NewReader(content), brokenReader{})
	if err := g.Upload_from(broken, "/x"); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Fatal(err)
	}
	f.script("Download", func(_ [][]byte, send func([]byte)) error {
		send(appendBytes(nil, 1, []byte("ab")))
		send(appendBytes(nil, 1, []byte("c")))
		return nil
	})
	target := filepath.Join(t.TempDir(), "target")
	check(t, g.Download("/x", target))
	received, err := os.ReadFile(target)
	check(t, err)
	same(t, string(received), "abc")
	f.script("Download", fails(codes.NotFound, "/x: No such file or directory", "ENOENT", nil))
	absent := filepath.Join(t.TempDir(), "absent")
	if err := g.Download("/x", absent); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(absent); !os.IsNotExist(err) {
		t.Fatal("a file of nothing")
	}
}

func TestRefusedSubscription(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	f.script("Subscribe", answer(nil))
	f.refuse("Subscribe", fails(codes.ResourceExhausted, "too many streams", "LIMIT_EXCEEDED", nil)(nil, nil))
	called := false
	handle, err := g.Set_event_callback(func(uint64, int, []byte, []uint64) { called = true }, EVENT_ALL)
	failure, ok := err.(*GuestfsError)
	if !ok || handle != -1 || failure.Reason != "LIMIT_EXCEEDED" {
		t.Fatalf("%d %#v", handle, err)
	}
	if err := g.Close(); err != nil || called {
		t.Fatal(err, called)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestContext(t *testing.T) {
	f := startFake(t)
	g := connectTo(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.WithContext(ctx).Cat("/x")
	if !errors.Is(err, syscall.EINTR) {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	f := startFake(t)
	events := make(chan []byte, 100)
	event := func(kind int64, text string) []byte { return appendText(appendNumber(nil, 1, kind), 5, text) }
	f.script("Subscribe", func(_ [][]byte, send func([]byte)) error {
		for message := range events {
			send(message)
		}
		return nil
	})
	f.script("GetPgroup", func(_ [][]byte, send func([]byte)) error {
		events <- event(8, "get_pgroup")
		events <- event(7, "get_pgroup")
		events <- event(7, "get_pgroup = 0")
		send(nil)
		return nil
	})
	f.script("Cat", func(_ [][]byte, send func([]byte)) error {
		events <- event(7, "cat")
		progress := appendNumber(appendNumber(nil, 2, 76), 5, 9)
		events <- appendBytes(appendNumber(nil, 1, 4), 6, progress)
		send(appendText(nil, 1, "text"))
		return nil
	})
	f.script("DeleteSession", func(_ [][]byte, send func([]byte)) error {
		close(events)
		send(nil)
		return nil
	})
	g := connectTo(t, f)
	var seen []any
	handle, err := g.Set_event_callback(func(event uint64, handle int, buf []byte, array []uint64) {
		seen = append(seen, event, handle, string(buf), array)
	}, EVENT_ALL)
	check(t, err)
	_, err = g.Cat("/x")
	check(t, err)
	same(t, seen, []any{EVENT_TRACE, handle, "cat", []uint64(nil), EVENT_PROGRESS, handle, "", []uint64{76, 0, 0, 9}})
	g.Delete_event_callback(handle)
	_, err = g.Cat("/x")
	check(t, err)
	same(t, len(seen), 8)
	closed := 0
	_, err = g.Set_event_callback(func(uint64, int, []byte, []uint64) { closed++ }, EVENT_CLOSE)
	check(t, err)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, closed, 1)
}
