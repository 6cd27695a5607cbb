package e2e

import "testing"

// lookPolicy has a rule for each protocol, in detect mode: everything passes.
const lookPolicy = `
mode: detect
default_action: block
rules:
  - {name: no-admin, action: block, layer7: {http: {paths: [/admin/**]}}}
  - {name: web, action: allow, layer7: {http: {hosts: [www.example.com]}}}
  - {name: old-tls, action: block, layer7: {tls: {versions: ["1.2"]}}}
  - {name: secure, action: allow, layer7: {tls: {server_names: ["*.example.com"]}}}
  - {name: no-tracker, action: block, layer7: {dns: [.tracker.example]}}
  - {name: names, action: allow, layer7: {dns: {types: [A, AAAA]}}}
  - {name: shell, action: allow, layer7: {ssh: {software: ["OpenSSH_*"]}}}
`

// TestLook: what real programs say to each other is told of, each exchange once, with
// its facts and its verdict, in every direction and family; with a policy and without.
func TestLook(t *testing.T) {
	t.Parallel()
	var talks []talk
	for _, of := range [][]talk{httpTalks, tlsTalks, dnsTalks, sshTalks} {
		talks = append(talks, of...)
	}
	for _, c := range []struct{ name, policy string }{{"without a policy", ""}, {"with a policy", lookPolicy}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, beyond := newRouter(t)
			watch := config{interfaces: "{include: ['weir*']}", receiver: "record: {http: {query: true, request_headers: [x-test]}, dns: {answers: true}}"}
			if c.policy != "" {
				watch.policy = string(newPolicy(t, c.policy))
			}
			w := start(t, l.a, watch)
			for _, p := range passages(l, beyond) {
				for i := range talks {
					t.Run(talks[i].name+"/"+p.String(), func(t *testing.T) {
						t.Parallel()
						w.expectTalk(t, &talks[i], p)
					})
				}
			}
		})
	}
}
