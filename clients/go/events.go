package guestfs

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
)

// The events of libguestfs.
const (
	EVENT_CLOSE           = uint64(0x1)
	EVENT_SUBPROCESS_QUIT = uint64(0x2)
	EVENT_LAUNCH_DONE     = uint64(0x4)
	EVENT_PROGRESS        = uint64(0x8)
	EVENT_APPLIANCE       = uint64(0x10)
	EVENT_LIBRARY         = uint64(0x20)
	EVENT_TRACE           = uint64(0x40)
	EVENT_ENTER           = uint64(0x80)
	EVENT_LIBVIRT_AUTH    = uint64(0x100)
	EVENT_WARNING         = uint64(0x200)
	EVENT_ALL             = uint64(0x3ff)
)

// eventBits are libguestfs's bits for the service's types, which are numbered from 1.
var eventBits = []uint64{0, EVENT_CLOSE, EVENT_SUBPROCESS_QUIT, EVENT_LAUNCH_DONE, EVENT_PROGRESS, EVENT_APPLIANCE,
	EVENT_LIBRARY, EVENT_TRACE, EVENT_ENTER, EVENT_WARNING}

const (
	// The ENTER event of this call shows that the events of all earlier calls have arrived.
	marker     = "get_pgroup"
	markerPath = "/guestfs.v1.PropertyService/GetPgroup"
	markerWait = 10 * time.Second
)

// EventCallback is called with an event, the handle of its registration, a message (of some events) and numbers (of
// progress: procedure, serial, position, total).
type EventCallback func(event uint64, event_handle int, buf []byte, array []uint64)

type registration struct {
	handle int
	call   EventCallback
	events uint64
}

// events are the callbacks of a handle, and its subscription.
type events struct {
	g      *Guestfs
	mutex  sync.Mutex
	all    []registration
	next   int
	types  uint64
	cancel context.CancelFunc
	// ended is closed when the subscription has ended.
	ended chan struct{}
	// marks has an element when the event of the marker has arrived.
	marks   chan struct{}
	hidden  int
	calling bool
}

func newEvents(g *Guestfs) *events {
	// The handle must end with its last reference: this one is to what its copies share.
	return &events{g: &Guestfs{handle: g.handle, ctx: context.WithoutCancel(g.ctx)}}
}

// Set_event_callback registers a callback for events, one or more of the EVENT_ constants; it returns a handle for
// Delete_event_callback. The callbacks for the events of a call have returned before the call returns. A callback may
// call User_cancel, and no other method of the same handle.
func (g *Guestfs) Set_event_callback(callback EventCallback, event_bitmask uint64) (int, error) {
	if c := g.begin("set_event_callback", ""); c.err != nil {
		return -1, c.err
	}
	if callback == nil {
		return -1, argumentError("set_event_callback", "the callback is nil")
	}
	e := g.events
	e.mutex.Lock()
	handle := e.next
	e.next++
	e.all = append(e.all, registration{handle, callback, event_bitmask})
	e.mutex.Unlock()
	if err := e.resubscribe(); err != nil {
		// One that cannot get its events is not registered.
		g.Delete_event_callback(handle)
		return -1, err
	}
	return handle, nil
}

// Delete_event_callback removes a callback; one that does not exist is no error, as in libguestfs.
func (g *Guestfs) Delete_event_callback(event_handle int) {
	e := g.events
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for i, one := range e.all {
		if one.handle == event_handle {
			e.all = append(e.all[:i:i], e.all[i+1:]...)
			return
		}
	}
}

// resubscribe subscribes to what callbacks want, if it is more than before.
func (e *events) resubscribe() error {
	e.mutex.Lock()
	wanted := e.types
	for _, one := range e.all {
		wanted |= one.events &^ EVENT_CLOSE
	}
	same := wanted == e.types
	e.mutex.Unlock()
	if same {
		return nil
	}
	ctx, cancel := context.WithCancel(e.g.outgoing())
	stream, err := e.g.connection().NewStream(ctx, bothWays, "/guestfs.v1.EventService/Subscribe")
	if err == nil {
		request := []byte{}
		for number, bit := range eventBits {
			if bit&(wanted|EVENT_ENTER) != 0 {
				request = appendNumber(request, 1, int64(number))
			}
		}
		if err = stream.SendMsg(&request); err == nil {
			err = stream.CloseSend()
		}
	}
	if err == nil {
		// The service sends its header when no later event can be missed. The error of a stream without one comes after it.
		var header metadata.MD
		if header, err = stream.Header(); err == nil && header == nil {
			err = stream.RecvMsg(new([]byte))
		}
	}
	if err != nil {
		cancel()
		return e.g.failed("set_event_callback", err)
	}
	// The subscription so far stays if a wider one is refused.
	e.stop()
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.types, e.cancel, e.ended, e.marks = wanted, cancel, make(chan struct{}), make(chan struct{}, 1)
	go e.read(stream.RecvMsg, e.ended)
	return nil
}

// stop ends the subscription.
func (e *events) stop() {
	if e == nil {
		return
	}
	e.mutex.Lock()
	cancel, ended, calling := e.cancel, e.ended, e.calling
	e.cancel, e.types = nil, 0
	e.mutex.Unlock()
	if cancel != nil {
		cancel()
		if !calling {
			<-ended
		}
	}
}

func (e *events) read(receive func(any) error, ended chan struct{}) {
	defer close(ended)
	for {
		var message []byte
		// The stream ends with the session, or with the connection, which the next call reports.
		if receive(&message) != nil {
			return
		}
		e.dispatch(message)
	}
}

func (e *events) dispatch(message []byte) {
	var kind uint64
	var text []byte
	var numbers []uint64
	// A malformed event is no event.
	if eachField(message, func(f field) {
		switch f.number {
		case 1:
			kind = f.varint
		case 5:
			text = []byte(f.text())
		case 6:
			numbers = progressNumbers(f.data)
		}
	}) != nil || kind >= uint64(len(eventBits)) {
		return
	}
	bit := eventBits[kind]
	if e.isMarker(bit, string(text)) || bit == EVENT_CLOSE {
		return
	}
	e.deliver(bit, text, numbers)
}

// isMarker recognizes the events of the marker's call: its ENTER, and the two lines of its trace.
func (e *events) isMarker(bit uint64, text string) bool {
	if bit == EVENT_ENTER {
		e.hidden = 0
		if text == marker {
			select {
			case e.marks <- struct{}{}:
				e.hidden = 2
				return true
			default:
			}
		}
	}
	if bit == EVENT_TRACE && e.hidden > 0 && (text == marker || len(text) > len(marker) && text[:len(marker)+1] == marker+" ") {
		e.hidden--
		return true
	}
	return false
}

func progressNumbers(message []byte) []uint64 {
	numbers := make([]uint64, 4)
	// procedure, serial, position and total are fields 2 to 5.
	_ = eachField(message, func(f field) {
		if f.number >= 2 && f.number <= 5 {
			numbers[f.number-2] = f.varint
		}
	})
	return numbers
}

// deliver calls the callbacks for an event.
func (e *events) deliver(bit uint64, text []byte, numbers []uint64) {
	if e == nil {
		return
	}
	e.mutex.Lock()
	all := append([]registration(nil), e.all...)
	e.calling = true
	e.mutex.Unlock()
	for _, one := range all {
		if one.events&bit != 0 {
			one.call(bit, one.handle, text, numbers)
		}
	}
	e.mutex.Lock()
	e.calling = false
	e.mutex.Unlock()
}

// settle waits until callbacks have been called for all events of the calls that have ended.
func (e *events) settle() {
	if e == nil {
		return
	}
	e.mutex.Lock()
	active, ended, marks := e.cancel != nil, e.ended, e.marks
	e.mutex.Unlock()
	if !active {
		return
	}
	select {
	case <-marks:
	default:
	}
	conn := e.g.connection()
	var answer []byte
	// If the connection is lost, or the session has ended, no more events will come.
	if conn == nil || conn.Invoke(e.g.outgoing(), markerPath, &[]byte{}, &answer) != nil {
		return
	}
	select {
	case <-marks:
	case <-ended:
	case <-time.After(markerWait):
		// A service that is overloaded has dropped the marker's event, as others.
	}
}
