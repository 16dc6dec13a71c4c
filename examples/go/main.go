// Drive goes from an empty disk to a file on it and back.
//
//	go run . [ADDRESS]
//
// It uses the client in clients/go, which has the interface of libguestfs's own binding.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"libguestfs.org/guestfs"
)

const miB = 1 << 20

// pieces shows how much of a reader has been read, which is as fast as the service accepts it.
type pieces struct {
	reader io.Reader
	sent   int
}

func (p *pieces) Read(buffer []byte) (int, error) {
	n, err := p.reader.Read(buffer)
	for before := p.sent / miB; before < (p.sent+n)/miB; before++ {
		fmt.Printf("sent %d of 8 MiB\n", before+1)
	}
	p.sent += n
	return n, err
}

// canceller ends a transfer when it receives the first part of it.
type canceller struct {
	cancel context.CancelFunc
}

func (c canceller) Write(part []byte) (int, error) {
	c.cancel()
	return len(part), nil
}

func use(g *guestfs.Guestfs) error {
	if err := g.Add_drive_scratch(64*miB, nil); err != nil {
		return err
	}
	if err := g.Launch(); err != nil {
		return err
	}
	fmt.Println("launched")
	if err := g.Part_disk("/dev/sda", "gpt"); err != nil {
		return err
	}
	if err := g.Mkfs("ext4", "/dev/sda1", nil); err != nil {
		return err
	}
	if err := g.Mount("/dev/sda1", "/"); err != nil {
		return err
	}

	var content, received bytes.Buffer
	for number := byte(1); number <= 8; number++ {
		content.Write(bytes.Repeat([]byte{number}, miB))
	}
	if err := g.Upload_from(&pieces{reader: bytes.NewReader(content.Bytes())}, "/file"); err != nil {
		return err
	}
	if err := g.Download_to("/file", &received); err != nil {
		return err
	}
	if !bytes.Equal(received.Bytes(), content.Bytes()) {
		return errors.New("the file has changed")
	}
	fmt.Println("received the same 8 MiB")

	_, err := g.Cat("/missing")
	var failure *guestfs.GuestfsError
	if !errors.As(err, &failure) {
		return fmt.Errorf("no such error: %w", err)
	}
	fmt.Println("cat /missing:", failure.Reason)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := g.WithContext(ctx).Download_to("/dev/sda", canceller{cancel}); ctx.Err() == nil || err == nil {
		return fmt.Errorf("the download was not cancelled: %w", err)
	}
	fmt.Println("cancelled a download")
	return nil
}

func main() {
	server := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		server = os.Args[1]
	}
	g, err := guestfs.Connect(context.Background(), guestfs.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	err = use(g)
	if closing := g.Close(); closing != nil {
		err = errors.Join(err, closing)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("deleted")
}
