package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// echoService answers with the payload that came, and counts the calls.
type echoService struct {
	testpb.UnimplementedTestServiceServer
	came visits
}

func (s *echoService) UnaryCall(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.came.add("UnaryCall")
	return &testpb.SimpleResponse{Payload: r.Payload}, nil
}

func (s *echoService) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	s.came.add("EmptyCall")
	return &testpb.Empty{}, nil
}

func (s *echoService) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	s.came.add("FullDuplexCall")
	return s.echo(stream)
}

func (s *echoService) HalfDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	s.came.add("HalfDuplexCall")
	return s.echo(stream)
}

func (*echoService) echo(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.Send(&testpb.StreamingOutputCallResponse{Payload: r.Payload})
		}
		if err != nil {
			return err
		}
	}
}

// grpcCalls calls methods that are allowed and others, with one answer and with many.
func grpcCalls(t *testing.T, p *programs) {
	at := p.at(8004)
	service := &echoService{}
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, service)
	go server.Serve(p.b.listenTCP(t, at))
	t.Cleanup(server.Stop)
	dial := p.a.dialer()
	client := func() testpb.TestServiceClient {
		c, err := grpc.NewClient("passthrough:///"+at.String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return testpb.NewTestServiceClient(c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	allowed := client()
	want := content(7, 1<<20)
	stream, err := allowed.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r, err := allowed.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: want}})
		if err != nil || !bytes.Equal(r.Payload.Body, want) {
			t.Fatalf("call %d is answered with other bytes: %v", i, err)
		}
		part := want[i*1000 : (i+1)*10_000]
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: part}}); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || !bytes.Equal(r.Payload.Body, part) {
			t.Fatalf("message %d of the stream comes back as another: %v", i, err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}

	if _, err := client().EmptyCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call that is forbidden is answered %v", err)
	}
	half, err := client().HalfDuplexCall(ctx)
	if err == nil {
		_, err = half.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stream that is forbidden is answered %v", err)
	}
	if service.came.of("EmptyCall")+service.came.of("HalfDuplexCall") > 0 {
		t.Errorf("these calls came: %v", service.came.all)
	}
	const prefix = "/grpc.testing.TestService/"
	for _, method := range []string{"UnaryCall", "FullDuplexCall"} {
		p.tells(t, "weir.http.request", at.Port(), "url.path", prefix+method, "network.protocol.version", "2", "weir.verdict", "allowed", "security_rule.name", "calls")
	}
	for _, method := range []string{"EmptyCall", "HalfDuplexCall"} {
		p.tells(t, "weir.http.request", at.Port(), "url.path", prefix+method, "network.protocol.version", "2", "weir.verdict", "blocked", "weir.reason", "default")
	}
}
