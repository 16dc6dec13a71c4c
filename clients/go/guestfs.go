// Package guestfs is libguestfs over the network: the interface of libguestfs.org/guestfs, for a guestfs-grpc server.
//
// A program for libguestfs's own binding uses it with one line in its go.mod:
//
//	replace libguestfs.org/guestfs => ../guestfs-grpc/clients/go
//
// Create connects to the server that GUESTFS_GRPC_SERVER names, or else starts one of its own; Connect takes its address.
package guestfs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	sessionKey   = "guestfs-session"
	requestIDKey = "guestfs-request-id"
	// Some answers of daemons are close to gRPC's default limit of 4 MiB.
	answerLimit = 8 << 20
	// How long the end of a session may take whose connection is lost.
	closeLimit = 10 * time.Second
)

// CreateFlags are flags of Create_flags.
type CreateFlags uint

const (
	// CREATE_NO_ENVIRONMENT ignores the LIBGUESTFS_ variables.
	CREATE_NO_ENVIRONMENT = CreateFlags(1)
	// CREATE_NO_CLOSE_ON_EXIT is for compatibility: Go closes nothing when a program ends.
	CREATE_NO_CLOSE_ON_EXIT = CreateFlags(2)
)

// Options of Connect.
type Options struct {
	// Server is host:port, tls:host:port or unix:/path; empty: GUESTFS_GRPC_SERVER, or else a server that is started.
	Server string
	// Credentials are for a connection with TLS; unset: files that GUESTFS_GRPC_CA, _CERT and _KEY name.
	Credentials credentials.TransportCredentials
	// Token is a bearer token; empty: GUESTFS_GRPC_TOKEN.
	Token string
	Flags CreateFlags
}

// handle is what copies of a Guestfs with other contexts share.
type handle struct {
	mutex   sync.Mutex
	options Options
	server  string
	id      string
	conn    *grpc.ClientConn
	local   *localServer
	closed  bool
	lost    *GuestfsError
	events  *events
}

// Guestfs is a handle: one session of a server.
type Guestfs struct {
	*handle
	ctx context.Context
}

// String is for debugging.
func (g *Guestfs) String() string {
	return "&Guestfs{}"
}

// Create makes a handle.
func Create() (*Guestfs, error) {
	return Create_flags(0)
}

// Create_flags makes a handle with flags.
func Create_flags(flags CreateFlags) (*Guestfs, error) {
	return Connect(context.Background(), Options{Flags: flags})
}

// Connect makes a handle on a certain server. The context is that of all its calls.
func Connect(ctx context.Context, options Options) (*Guestfs, error) {
	server := options.Server
	if server == "" {
		server = os.Getenv("GUESTFS_GRPC_SERVER")
	}
	if options.Token == "" {
		options.Token = os.Getenv("GUESTFS_GRPC_TOKEN")
	}
	h := &handle{options: options, server: server}
	if server == "" {
		local, err := useLocalServer()
		if err != nil {
			return nil, err
		}
		h.local, h.server = local, local.address
	}
	g := &Guestfs{handle: h, ctx: ctx}
	if err := g.open(); err != nil {
		h.release()
		return nil, err
	}
	h.events = newEvents(g)
	// Finalizers are not guaranteed to run, but may free a forgotten session.
	runtime.SetFinalizer(g, func(g *Guestfs) { _ = g.Close() })
	if err := g.Set_program(filepath.Base(os.Args[0])); err != nil {
		return nil, g.giveUp(err)
	}
	if options.Flags&CREATE_NO_ENVIRONMENT == 0 {
		if err := g.Parse_environment(); err != nil {
			return nil, g.giveUp(err)
		}
	}
	return g, nil
}

// giveUp closes a handle that cannot be used, because of an error.
func (g *Guestfs) giveUp(err error) error {
	if closing := g.Close(); closing != nil {
		return errors.Join(err, closing)
	}
	return err
}

// asError keeps a nil pointer from becoming an error.
func asError(err *GuestfsError) error {
	if err == nil {
		return nil
	}
	return err
}

// WithContext is the same handle; its calls end with the context. They fail with EINTR or ETIMEDOUT then.
func (g *Guestfs) WithContext(ctx context.Context) *Guestfs {
	return &Guestfs{handle: g.handle, ctx: ctx}
}

// Session_id is the ID of the session on the server.
func (g *Guestfs) Session_id() string {
	return g.id
}

func (g *Guestfs) open() error {
	conn, err := g.dial(g.server)
	if err != nil {
		return err
	}
	g.conn = conn
	var answer []byte
	if err := conn.Invoke(g.outgoing(), "/guestfs.v1.SessionService/CreateSession", &[]byte{}, &answer); err != nil {
		return rpcError("create", g.server, err)
	}
	return eachField(answer, func(f field) {
		if f.number == 1 {
			g.id = f.text()
		}
	})
}

// parseAddress is the target of gRPC for an address, and whether it uses TLS.
func parseAddress(address string) (target string, useTLS bool, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", false, argumentError("create", "%s: the path of a Unix socket must be absolute", address)
		}
		return address, false, nil
	}
	target, useTLS = strings.CutPrefix(address, "tls:")
	colon := strings.LastIndex(target, ":")
	if colon > 0 {
		if port, err := strconv.Atoi(target[colon+1:]); err == nil && port > 0 && port < 65536 {
			return "dns:///" + target, useTLS, nil
		}
	}
	return "", false, argumentError("create", "%q is not the address of a server: host:port, tls:host:port or unix:/path", address)
}

func (g *Guestfs) dial(address string) (*grpc.ClientConn, error) {
	target, useTLS, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	transport := g.options.Credentials
	if transport == nil && useTLS {
		if transport, err = credentialsOfEnvironment(); err != nil {
			return nil, err
		}
	}
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(answerLimit)),
		// A server that is gone without a word, as after a power cut, is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}))
	if err != nil {
		return nil, localError("create", err)
	}
	return conn, nil
}

func credentialsOfEnvironment() (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if name := os.Getenv("GUESTFS_GRPC_CA"); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, localError("create", fmt.Errorf("GUESTFS_GRPC_CA: %w", err))
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, argumentError("create", "GUESTFS_GRPC_CA: %s has no certificate", name)
		}
	}
	certificate, key := os.Getenv("GUESTFS_GRPC_CERT"), os.Getenv("GUESTFS_GRPC_KEY")
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, localError("create", fmt.Errorf("GUESTFS_GRPC_CERT, GUESTFS_GRPC_KEY: %w", err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// outgoing is the context of one call, with its metadata. A call that a proxy repeats, or gRPC itself, is recognised by
// its request ID, and made once.
func (g *Guestfs) outgoing() context.Context {
	ctx := metadata.AppendToOutgoingContext(g.ctx, requestIDKey, newRequestID())
	if g.options.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+g.options.Token)
	}
	if g.id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, sessionKey, g.id)
	}
	return ctx
}

// newRequestID is an ID with 128 random bits.
func newRequestID() string {
	var id [16]byte
	// It never fails: Go ends the program instead, or on older versions reports what the system reports.
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	return hex.EncodeToString(id[:])
}

// connection is the current connection; nil if the handle is closed.
func (g *Guestfs) connection() *grpc.ClientConn {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.closed {
		return nil
	}
	return g.conn
}

// follow connects to the replica that has the session.
func (g *Guestfs) follow(endpoint string) error {
	// What a server on the network says must not lead to a socket of this machine.
	if strings.HasPrefix(endpoint, "unix:") && !strings.HasPrefix(g.server, "unix:") {
		return fmt.Errorf("the server at %s names a local socket as another replica: %s", g.server, endpoint)
	}
	if strings.HasPrefix(g.server, "tls:") {
		endpoint = "tls:" + endpoint
	}
	conn, err := g.dial(endpoint)
	if err != nil {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	before := g.conn
	g.conn, g.server = conn, endpoint
	return before.Close()
}

// Close ends the session: its data is written, its appliance stopped, its images are free. It fails if data could not
// be written; the handle is closed in any case.
func (g *Guestfs) Close() *GuestfsError {
	g.mutex.Lock()
	if g.closed {
		g.mutex.Unlock()
		return closedHandleError("close")
	}
	g.closed = true
	lost := g.lost
	g.mutex.Unlock()
	g.events.deliver(EVENT_CLOSE, nil, nil)
	// A session is ended even if the context of its calls has ended.
	ctx := context.WithoutCancel(g.outgoing())
	if lost != nil {
		limited, cancel := context.WithTimeout(ctx, closeLimit)
		defer cancel()
		ctx = limited
	}
	request := appendText(nil, 1, g.id)
	var answer []byte
	err := g.conn.Invoke(ctx, "/guestfs.v1.SessionService/DeleteSession", &request, &answer)
	g.events.stop()
	server := g.server
	g.release()
	if err != nil && lost == nil {
		return rpcError("close", server, err)
	}
	return nil
}

func (h *handle) release() {
	if h.conn != nil {
		_ = h.conn.Close()
	}
	if h.local != nil {
		h.local.done()
	}
}

// failed remembers a lost connection: the handle can only be closed after it.
func (g *Guestfs) failed(op string, err error) *GuestfsError {
	failure := rpcError(op, g.server, err)
	if failure.Code == codes.Unavailable && failure.Reason == "" {
		g.mutex.Lock()
		g.lost = failure
		g.mutex.Unlock()
	}
	return failure
}
