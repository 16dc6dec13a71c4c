package guestfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestLive runs against a real server, with an appliance: GUESTFS_GRPC_LIVE is its address.
func TestLive(t *testing.T) {
	server := os.Getenv("GUESTFS_GRPC_LIVE")
	if server == "" {
		t.Skip("GUESTFS_GRPC_LIVE names no server")
	}
	g, err := Connect(context.Background(), Options{Server: server})
	check(t, err)
	check(t, g.Disk_create("live-go.img", "qcow2", 300<<20, nil))
	check(t, g.Add_drive("live-go.img", &OptargsAdd_drive{Format_is_set: true, Format: "qcow2"}))
	launched := 0
	_, err = g.Set_event_callback(func(uint64, int, []byte, []uint64) { launched++ }, EVENT_LAUNCH_DONE)
	check(t, err)
	check(t, g.Launch())
	same(t, launched, 1)
	check(t, g.Part_disk("/dev/sda", "mbr"))
	check(t, g.Mkfs("ext4", "/dev/sda1", &OptargsMkfs{Label_is_set: true, Label: "live"}))
	check(t, g.Mount("/dev/sda1", "/"))
	label, err := g.Vfs_label("/dev/sda1")
	check(t, err)
	same(t, label, "live")
	table, err := g.List_filesystems()
	check(t, err)
	same(t, table, map[string]string{"/dev/sda1": "ext4"})

	content := bytes.Repeat([]byte{0, 1, 2, 0xff}, 2<<20)
	check(t, g.Upload_from(bytes.NewReader(content), "/file"))
	var received bytes.Buffer
	check(t, g.Download_to("/file", &received))
	same(t, bytes.Equal(received.Bytes(), content), true)
	stat, err := g.Statns("/file")
	check(t, err)
	same(t, stat.St_size, int64(len(content)))

	check(t, g.Write("/b\xe4r", []byte("latin")))
	names, err := g.Glob_expand("/b*", nil)
	check(t, err)
	same(t, names, []string{"/b\xe4r"})

	_, err = g.Cat("/nonexistent")
	if !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
	directory := t.TempDir()
	check(t, g.Mkdir("/d"))
	check(t, g.Touch("/d/leaf"))
	check(t, g.Copy_out("/d", directory))
	check(t, g.Copy_in(directory+"/d/leaf", "/"))
	there, err := g.Exists("/leaf")
	check(t, err)
	same(t, there, true)

	stopped := &stopping{g: g}
	if err := g.Download_to("/file", stopped); !errors.Is(err, syscall.EINTR) {
		t.Fatal(err)
	}
	check(t, g.Touch("/after"))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// stopping cancels the transfer that it receives.
type stopping struct {
	g    *Guestfs
	done bool
}

func (s *stopping) Write(data []byte) (int, error) {
	if !s.done {
		s.done = true
		if err := s.g.User_cancel(); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// TestLocalServer uses a server of its own, which ends with the last handle.
func TestLocalServer(t *testing.T) {
	if os.Getenv("GUESTFS_GRPC_LIVE") == "" {
		t.Skip("GUESTFS_GRPC_LIVE names no server")
	}
	directory := t.TempDir()
	t.Setenv("GUESTFS_GRPC_SERVER", "")
	t.Setenv("TMPDIR", directory)
	t.Chdir(directory)
	g, err := Create()
	check(t, err)
	other, err := Create()
	check(t, err)
	same(t, other.server, g.server)
	check(t, g.Disk_create("own.img", "raw", 1<<20, nil))
	if _, err := os.Stat("own.img"); err != nil {
		t.Fatal(err)
	}
	for _, handle := range []*Guestfs{g, other} {
		if err := handle.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(g.server, "unix:")); !os.IsNotExist(err) {
		t.Fatalf("the server has not ended: %v", err)
	}
}
