// Package sample is the service `discoverableclient`: what `fairlead demo`, the tests and the examples
// put behind the gateway. It speaks WebSocket, REST and server-sent events, shows one page, and
// registers as any other service does, over the Eureka REST interface.
//
// Below /discoverableclient (the paths in brackets are those on the gateway):
//
//	ws/uppercase    (/discoverableclient/ws/v1/uppercase) the text in upper case; "bye" is answered and then
//	                closed with 1000. A binary message comes back binary, its ASCII letters in upper case.
//	                With ?instance=1 the answers are JSON: {"instance":"one","text":"HELLO"}
//	ws/header       the handshake's headers as text: [host:"localhost:10012", x-test:"value"]; the message
//	                "bye" is answered so too, and then closed with 1000. A foreign Origin gets 403
//	ws/chat         ?room=NAME&name=WHO: a message is a line of plain text, at most 4 KiB; everyone in the room
//	                gets it as JSON, whichever instance they are on. See ChatMessage
//	ws/echo         text and binary echo, 64 MiB at most; subprotocols echo.v2, echo.v1 in this order
//	ws/login        plain HTTP: asks for the basic credentials, if there are any, and goes on to the page
//	api/v1/ws, /sse {"date":...,"content":"Hello, Web service!"}
//	api/v1/greeting ?name=NAME
//	api/v1/echo     POST: the body comes back as it arrives; its length is in the trailer X-Echo-Bytes
//	events          (/discoverableclient/sse/v1/events) server-sent events, one a second
//	application/    info, health
//	(the rest)      (/discoverableclient/ui/v1/) the page
//
// Every answer, the 101 of a WebSocket included, names its instance in the header X-Instance.
//
// Control is a second, tiny service, `demo`: it starts and stops the instances. It is registered on its own,
// so the page can still start an instance when none is left, and it serves the page as well.
package sample
