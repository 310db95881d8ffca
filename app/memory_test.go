package app

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	const mb = 1 << 20
	for inUse, want := range map[uint64]int{
		0: 2400, 1 * mb: 2300, 6 * mb: 300, 12 * mb: 100, 20 * mb: 20, 24 * mb: leastGrowth, 500 * mb: leastGrowth,
	} {
		if got := growth(inUse); got != want {
			t.Errorf("with %d MB in use %d %%, want %d %%", inUse/mb, got, want)
		}
	}
}

// The pace follows what is in use, up and down.
func TestGarbageCollectorIsTuned(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	pace := func() int {
		runtime.GC()
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	TuneGarbageCollector()
	func() {
		held := make([]byte, 64<<20)
		wait(t, "a slow growth", func() bool { return pace() == leastGrowth })
		runtime.KeepAlive(held)
	}()
	wait(t, "a fast growth", func() bool { return pace() > 100 })
}

func TestTheLimitOfTheCgroup(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"none", nil, math.MaxInt64},
		{"version 2, in a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "134217728\n"}, 134217728},
		{"version 2, unlimited", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, math.MaxInt64},
		{"a service of systemd", map[string]string{
			"proc/self/cgroup": "0::/system.slice/relay.service\n",
			"sys/fs/cgroup/system.slice/relay.service/memory.max":     "max\n",
			"sys/fs/cgroup/system.slice/memory.max":                   "67108864\n",
			"sys/fs/cgroup/system.slice/other.service/memory.max":     "1\n",
			"sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes": "1\n",
		}, 67108864},
		{"a path of the machine's, in a container", map[string]string{
			"proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": "1048576\n",
		}, 1048576},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2097152\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
		}, 2097152},
		{"rubbish", map[string]string{"proc/self/cgroup": "0\n::\n\n0::/../../x\n", "sys/fs/cgroup/memory.max": "many\n"}, math.MaxInt64},
	} {
		root := t.TempDir()
		for name, text := range test.files {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := cgroupLimit(root); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
		const before = 1 << 40
		restore := debug.SetMemoryLimit(before)
		LimitMemory(root)
		if got, want := debug.SetMemoryLimit(restore), min(before, test.want/10*9); got != want {
			t.Errorf("%s: the garbage collector knows %d, want %d", test.name, got, want)
		}
	}
}

func wait(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !reached(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}
