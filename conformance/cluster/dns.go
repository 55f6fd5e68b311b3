package cluster

import (
	"net"

	"github.com/miekg/dns"
)

// ServeDNS answers like the whoami plugin of the CoreDNS that the suite's base manifests ask for:
// the address of whoever asks for foo.bar.com.
func ServeDNS() error {
	dns.HandleFunc("foo.bar.com.", func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		answer.Authoritative = true
		host, _, err := net.SplitHostPort(w.RemoteAddr().String())
		if err != nil {
			return
		}
		header := dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}
		answer.Extra = append(answer.Extra, &dns.A{Hdr: header, A: net.ParseIP(host)})
		_ = w.WriteMsg(answer)
	})
	return (&dns.Server{Addr: ":53", Net: "udp"}).ListenAndServe()
}
