package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"text/tabwriter"
	"time"
)

type sessionsCommand struct {
	List   sessionsListCommand   `cmd:"" default:"withargs" help:"List the live sessions (default)."`
	Show   sessionsShowCommand   `cmd:"" help:"Show one session."`
	Watch  sessionsWatchCommand  `cmd:"" help:"List the busiest sessions, again and again."`
	Frames sessionsFramesCommand `cmd:"" help:"Show the frames of a session as they pass."`
	Close  sessionsCloseCommand  `cmd:"" help:"Close a session."`
	Move   sessionsMoveCommand   `cmd:"" help:"Move a session to another instance, without loss."`
}

type sessionsListCommand struct{ clientFlags }

// liveSession is what the list prints of a session.
type liveSession struct {
	ID          string  `json:"sessionId"`
	Client      string  `json:"client"`
	Service     string  `json:"service"`
	Instance    string  `json:"instance"`
	Path        string  `json:"path"`
	DurationMS  float64 `json:"duration_ms"`
	MessagesIn  int64   `json:"messages_in"`
	MessagesOut int64   `json:"messages_out"`
	Moves       int     `json:"moves"`
}

func (s *liveSession) age() time.Duration {
	return time.Duration(s.DurationMS * float64(time.Millisecond)).Round(time.Second)
}

// sessionPages calls page with each page of the list of sessions.
func (c *clientFlags) sessionPages(page func(body []byte) error) error {
	for path := "/application/websockets?view=full"; path != ""; {
		body, next, err := c.call(http.MethodGet, path)
		if err == nil {
			err = page(body)
		}
		if err != nil {
			return err
		}
		path = next
	}
	return nil
}

// Run lists every session, page by page.
func (c *sessionsListCommand) Run() error {
	if c.JSON {
		return c.sessionPages(func(body []byte) error {
			_, err := fmt.Println(string(body))
			return err
		})
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SESSION\tCLIENT\tSERVICE\tINSTANCE\tAGE\tIN\tOUT\tMOVES\tPATH")
	err := c.sessionPages(func(body []byte) error {
		var page []liveSession
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("%s: answer: %w", c.Gateway, err)
		}
		for _, s := range page {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n",
				s.ID, s.Client, s.Service, s.Instance, s.age(), s.MessagesIn, s.MessagesOut, s.Moves, s.Path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return table.Flush()
}

type sessionsShowCommand struct {
	clientFlags
	ID string `arg:"" help:"sessionId of the list."`
}

// Run prints one session as the gateway describes it.
func (c *sessionsShowCommand) Run() error {
	return c.print("/application/websockets/" + url.PathEscape(c.ID))
}

type sessionsCloseCommand struct {
	clientFlags
	ID     string `arg:"" help:"sessionId of the list."`
	Code   int    `default:"1008" help:"Close code that the client gets."`
	Reason string `help:"Reason that the client gets."`
}

// Run closes one session.
func (c *sessionsCloseCommand) Run() error {
	q := url.Values{"code": {strconv.Itoa(c.Code)}, "reason": {c.Reason}}
	_, _, err := c.call(http.MethodDelete, "/application/websockets/"+url.PathEscape(c.ID)+"?"+q.Encode())
	return err
}

type sessionsMoveCommand struct {
	clientFlags
	ID       string `arg:"" help:"sessionId of the list."`
	Instance string `help:"Instance to move it to. Default: one that the route's loadBalancing chooses."`
}

// Run moves one session.
func (c *sessionsMoveCommand) Run() error {
	path := "/application/websockets/" + url.PathEscape(c.ID) + "/move"
	if c.Instance != "" {
		path += "?" + url.Values{"instance": {c.Instance}}.Encode()
	}
	_, _, err := c.call(http.MethodPost, path)
	return err
}
