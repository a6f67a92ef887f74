// gorilla/websocket on net/http as its documentation uses it: one goroutine a connection, and for a
// broadcast a channel and a writer to each, as in its example chat.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

var upgrader = websocket.Upgrader{}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

// hub knows the channel of each connection.
type hub struct {
	mutex    sync.Mutex
	channels map[chan *websocket.PreparedMessage]bool
}

func (h *hub) join(channel chan *websocket.PreparedMessage) {
	h.mutex.Lock()
	h.channels[channel] = true
	h.mutex.Unlock()
}

func (h *hub) leave(channel chan *websocket.PreparedMessage) {
	h.mutex.Lock()
	delete(h.channels, channel)
	close(channel)
	h.mutex.Unlock()
}

func (h *hub) send(message *websocket.PreparedMessage) {
	h.mutex.Lock()
	for channel := range h.channels {
		channel <- message
	}
	h.mutex.Unlock()
}

func (h *hub) broadcast(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	channel := make(chan *websocket.PreparedMessage, 256)
	go func() {
		for message := range channel {
			// A connection that is lost is noticed by its reader; the channel is emptied until then.
			_ = conn.WritePreparedMessage(message)
		}
	}()
	h.join(channel)
	defer h.leave(channel)
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(kind, message)
		if err != nil {
			return
		}
		h.send(prepared)
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT")
	broadcast := flag.Bool("broadcast", false, "send what comes to everyone instead of back")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	handler := echo
	if *broadcast {
		handler = (&hub{channels: map[chan *websocket.PreparedMessage]bool{}}).broadcast
	}
	// Go sets TCP_NODELAY on what it accepts.
	fmt.Printf("listening on %s (gorilla/websocket)\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}
