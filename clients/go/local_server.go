package guestfs

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// keeper runs the server, removes its directory, and ends it with this program, whose death it notices by a signal.
const keeper = `trap 'kill -TERM "$server"' TERM INT
"$@" & server=$!
wait "$server"; wait "$server" 2>/dev/null
rm -rf "$KEEPER_DIRECTORY"`

// localServer is a server that this program has started: one for all its handles.
type localServer struct {
	address string
	process *os.Process
	users   int
	ended   chan struct{}
}

var (
	localMutex   sync.Mutex
	runningLocal *localServer
)

// serverProgram is the server, where the project is built.
func serverProgram() string {
	home := os.Getenv("GUESTFS_GRPC_HOME")
	if home == "" {
		// A checkout has this file in clients/go.
		_, file, _, _ := runtime.Caller(0)
		home = filepath.Join(filepath.Dir(file), "..", "..")
	}
	program := filepath.Join(home, "dist", "src", "cli", "main.js")
	if _, err := os.Stat(program); err != nil {
		return ""
	}
	return program
}

func useLocalServer() (*localServer, error) {
	localMutex.Lock()
	defer localMutex.Unlock()
	if runningLocal == nil {
		program := serverProgram()
		node, err := exec.LookPath("node")
		if program == "" || err != nil {
			return nil, argumentError("create", "no server: name one in GUESTFS_GRPC_SERVER, such as 127.0.0.1:50051; a "+
				"local one cannot be started, because the project is not installed here (GUESTFS_GRPC_HOME)")
		}
		if runningLocal, err = startLocalServer(node, program); err != nil {
			return nil, localError("create", err)
		}
	}
	runningLocal.users++
	return runningLocal, nil
}

// logEnd keeps the end of what the server logs, which is a line for each call.
type logEnd struct {
	mutex sync.Mutex
	text  []byte
}

const logKept = 16 << 10

func (l *logEnd) Write(data []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.text = append(l.text, data...)
	if len(l.text) > 2*logKept {
		l.text = append([]byte(nil), l.text[len(l.text)-logKept:]...)
	}
	return len(data), nil
}

func (l *logEnd) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return string(l.text)
}

func startLocalServer(node, program string) (*localServer, error) {
	directory, err := os.MkdirTemp("", "guestfs-grpc-client-")
	if err != nil {
		return nil, err
	}
	s := &localServer{address: "unix:" + filepath.Join(directory, "socket"), ended: make(chan struct{})}
	arguments := []string{"-c", keeper, "keeper", node, program, "serve", "--listen", s.address, "--image-root", "/",
		"--idle-timeout", "0", "--debug-service"}
	// What programs that use the library may do anyway, since it runs with their own rights.
	for _, permission := range []string{"remote-drives", "block-devices", "backing-files", "network", "host-actions", "custom-qemu"} {
		arguments = append(arguments, "--allow", permission)
	}
	command := exec.Command("sh", arguments...)
	command.Env = append(os.Environ(), "KEEPER_DIRECTORY="+directory)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log := &logEnd{}
	command.Stderr = log
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that has started the child: this one never does before the child.
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
		close(s.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.process = command.Process
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "listening on") {
			return s, nil
		}
	}
	<-s.ended
	return nil, argumentError("create", "the local guestfs-grpc server did not start: %s", strings.TrimSpace(log.String()))
}

// done ends the server with its last handle.
func (s *localServer) done() {
	localMutex.Lock()
	defer localMutex.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	if runningLocal == s {
		runningLocal = nil
	}
	_ = s.process.Signal(syscall.SIGTERM)
	<-s.ended
}
