package main

import (
	"strings"
	"testing"
)

func TestNginxAttempts(t *testing.T) {
	f := func(log string, want int64) {
		t.Helper()
		if got := nginxAttempts(log); got != want {
			t.Errorf("%q: %d attempts, want %d", log, got, want)
		}
	}
	f("", 0)
	f("127.77.1.1:8080\n", 1)
	f("127.77.1.1:8080, 127.77.1.2:8080\n127.77.1.1:8080\n", 3)
	f("127.77.1.1:8080, 127.77.1.2:8080 : 127.77.1.3:8080\n", 3)
	f("backends\n127.77.1.1:8080, backends\n-\n", 1) // nobody was left to ask
}

func TestHAProxyAttempts(t *testing.T) {
	const stat = `# pxname,svname,scur,connect,reuse,
web,FRONTEND,1,,,
backends,b0,0,10,5,
backends,b1,0,3,0,
backends,BACKEND,0,13,5,

`
	if n, err := haproxyAttempts(strings.NewReader(stat)); n != 18 || err != nil {
		t.Errorf("%d, %v; want 18", n, err)
	}
	for _, bad := range []string{"", "# pxname,svname\n", "# pxname,svname,connect,reuse\na,b,x,1\n"} {
		if n, err := haproxyAttempts(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %d attempts", bad, n)
		}
	}
}

func TestWeirAttempts(t *testing.T) {
	if n, err := weirAttempts([]byte(`{"name":"x","backends":[{"requests":3},{"requests":4}]}`)); n != 7 || err != nil {
		t.Errorf("%d, %v; want 7", n, err)
	}
	if _, err := weirAttempts([]byte("no")); err == nil {
		t.Error("no error")
	}
}

func TestGauge(t *testing.T) {
	const text = "# TYPE weir_queue_length gauge\nweir_queue_length{pool=\"a\"} 3\nweir_queue_length{pool=\"b\"} 4\nweir_queue_length_max 9\n"
	if v, ok := gauge(text, "weir_queue_length"); v != 7 || !ok {
		t.Errorf("%g, %v; want 7", v, ok)
	}
	if _, ok := gauge(text, "weir_queue"); ok {
		t.Error("there is no such metric")
	}
}
