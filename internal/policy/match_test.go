package policy_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// TestCriteria has a case for each criterion of layer7, true and false.
func TestCriteria(t *testing.T) {
	sum := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	now := tcp().Now
	http := tcp(app(policy.AppHTTP), func(f *policy.Facts) {
		f.HTTP = policy.HTTPFacts{
			Host: policy.Is("api.example"), Path: policy.Is("/v1/x"), Method: policy.Is("get"), Version: policy.Is("1.1"),
			Headers: policy.Is(map[string][]string{"x-env": {"a", "staging"}}),
		}
	})
	tls := tcp(app(policy.AppTLS), func(f *policy.Facts) {
		f.TLS = policy.TLSFacts{
			ServerName: policy.Is("www.example"), Version: policy.Is("1.2"), ECH: policy.Is(false),
			Certificate: policy.Is(policy.CertificateFacts{
				SubjectNames: []string{"www.example", "*.example"}, IssuerNames: []string{"R11", "ISRG Root X1"},
				IssuerOrganizations: []string{"Let's Encrypt"}, AuthoritySHA256: []string{sum},
				NotBefore: now.Add(-time.Hour), NotAfter: now.Add(100 * time.Hour),
			}),
		}
	})
	dns := tcp(app(policy.AppDNS), func(f *policy.Facts) {
		f.Protocol = 17
		f.DNS = policy.DNSFacts{Name: policy.Is("a.zip"), Type: policy.Is[uint16](16)}
	})
	key := "SHA256:uNiVztksCsDhcc0u9e8BrDaOKVPYMSHAsKoeEUlQnSk"
	ssh := tcp(app(policy.AppSSH), func(f *policy.Facts) {
		f.SSH = policy.SSHFacts{PublicKey: policy.Is(key), Software: policy.Is("OpenSSH_9.6p1")}
	})
	tests := []struct {
		facts   *policy.Facts
		yes, no string
	}{
		{http, "http: {hosts: api.example}", "http: {hosts: www.example}"},
		{http, "http: {paths: /v1/*}", "http: {paths: /v2/*}"},
		{http, "http: {methods: [GET, HEAD]}", "http: {methods: POST}"},
		{http, "http: {headers: {X-Env: stag*}}", "http: {headers: {x-env: prod}}"},
		{http, "http: {headers: {x-env: '*'}}", "http: {headers: {x-other: '*'}}"},
		{http, "http: {versions: 1.1}", "http: {versions: [1.0, 2]}"},
		{http, "domains: .example", "domains: .com"},
		{tls, "tls: www.example", "tls: api.example"},
		{tls, "tls: {versions: [1.2, 1.3]}", "tls: {versions: 1.3}"},
		{tls, "tls: {ech: false}", "tls: {ech: true}"},
		{tls, "tls: {certificate: {subject_names: '*.example'}}", "tls: {certificate: {subject_names: a.b.example}}"},
		{tls, "tls: {certificate: {issuer_names: R1*}}", "tls: {certificate: {issuer_names: DigiCert*}}"},
		{tls, `tls: {certificate: {issuer_organizations: "let's encrypt"}}`, "tls: {certificate: {issuer_organizations: Other}}"},
		{tls, "tls: {certificate: {authority_sha256: '" + sum + "'}}", "tls: {certificate: {authority_sha256: 'ff" + sum[2:] + "'}}"},
		{tls, "tls: {certificate: {expired: false}}", "tls: {certificate: {expired: true}}"},
		{tls, "tls: {certificate: {expires_within: 14d}}", "tls: {certificate: {expires_within: 1d}}"},
		{tls, "tls: {certificate: {self_signed: false}}", "tls: {certificate: {self_signed: true}}"},
		{tls, "domains: www.example", "http: {}"},
		{dns, "dns: .zip", "dns: .com"},
		{dns, "dns: {types: [A, TXT]}", "dns: {types: A}"},
		{dns, "dns: {transports: udp}", "dns: {transports: [tcp, tls]}"},
		{dns, "domains: .zip", "domains: .com"},
		{ssh, "ssh: {public_keys: '" + key + "'}", "ssh: {public_keys: 'SHA256:" + sum[:42] + "A'}"},
		{ssh, "ssh: {software: OpenSSH_9*}", "ssh: {software: dropbear*}"},
	}
	for _, tt := range tests {
		for criteria, want := range map[string]policy.Action{tt.yes: policy.Allow, tt.no: policy.Block} {
			t.Run(criteria, func(t *testing.T) {
				if d := load(t, rule("layer7: {"+criteria+"}")).Walk(tt.facts); d.Action != want || d.Early {
					t.Errorf("%+v", d)
				}
			})
		}
	}
}

func TestStages(t *testing.T) {
	tests := map[string]struct {
		wanted policy.FactSet
		stage  policy.Stage
	}{
		"nothing":          {0, policy.StagePacket},
		"protocol":         {policy.WantApplication, policy.StageOpening},
		"software":         {policy.WantSSHSoftware, policy.StageAnswer},
		"key":              {policy.WantSSHPublicKey, policy.StageLate},
		"protocol and key": {policy.WantApplication | policy.WantSSHPublicKey, policy.StageOpening},
		"answer and late":  {policy.WantSSHSoftware | policy.WantSSHPublicKey, policy.StageAnswer},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.wanted.Stage(); got != tt.stage {
				t.Errorf("stage %d, want %d", got, tt.stage)
			}
		})
	}
}
