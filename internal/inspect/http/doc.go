// Package http reads HTTP/1.0, HTTP/1.1 and HTTP/2 in clear text: from the bytes
// of both ends of a connection to one message per request, response and change of
// protocol, each with its place in its end's stream.
//
// What it takes for a request is what every server would take for it. Where
// servers and proxies are known to disagree about where a request ends, or whom
// it is for, the request is malformed and says why (Reason); it is not guessed.
// Responses tell only a status, so they are read as clients read them: more
// tolerantly, except for what frames them.
package http
