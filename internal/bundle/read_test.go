package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/westworld-charter/charter/internal/bundle"
)

// pack writes an archive as a stranger would.
func pack(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, h := range headers {
		body := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// file is an entry whose text travels in Linkname.
func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: text, Mode: 0o644, Format: tar.FormatUSTAR}
}

func compress(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func expand(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadRefuses(t *testing.T) {
	m := file(".manifest", manifest)
	good := pack(t, m)
	pax := file("a.rego", "")
	pax.Format, pax.PAXRecords = tar.FormatPAX, map[string]string{"comment": "x"}
	gnu := file("a.rego", "")
	gnu.Format = tar.FormatGNU
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"good", good, ""},
		{"nothing", nil, bundle.CodeBadArchive},
		{"not gzip", []byte("hello, world, this is text"), bundle.CodeBadArchive},
		{"gzip of text", compress(t, []byte(strings.Repeat("hello", 300))), bundle.CodeBadArchive},
		{"cut off", good[:len(good)-9], bundle.CodeBadArchive},
		{"checksum", append(slices.Clone(good[:len(good)-8]), 1, 2, 3, 4, 0, 8, 0, 0), bundle.CodeBadArchive},
		{"no files", pack(t), bundle.CodeMissingManifest},
		{"trailing bytes", append(slices.Clone(good), 'x'), bundle.CodeTrailingData},
		{"second gzip member", append(slices.Clone(good), good...), bundle.CodeTrailingData},
		{"second tar", compress(t, slices.Concat(expand(t, good), expand(t, good))), bundle.CodeTrailingData},
		{"zero padding", compress(t, append(expand(t, good), make([]byte, 10240)...)), ""},
		{"leading slash", pack(t, file("/.manifest", manifest)), bundle.CodeBadPath},
		{"leading dot", pack(t, file("./.manifest", manifest)), bundle.CodeBadPath},
		{"escape", pack(t, m, file("../../etc/x.rego", "")), bundle.CodeBadPath},
		{"backslash", pack(t, m, file(`a\b.rego`, "")), bundle.CodeBadPath},
		{"twice", pack(t, m, file("a.rego", "1"), file("a.rego", "2")), bundle.CodeDuplicatePath},
		{"twice but for case", pack(t, m, file("a.rego", "1"), file("A.rego", "2")), bundle.CodeDuplicatePath},
		{"symlink", pack(t, m, tar.Header{Typeflag: tar.TypeSymlink, Name: "a.rego", Linkname: "/etc/passwd", Format: tar.FormatUSTAR}), bundle.CodeBadEntry},
		{"hard link", pack(t, m, tar.Header{Typeflag: tar.TypeLink, Name: "a.rego", Linkname: ".manifest", Format: tar.FormatUSTAR}), bundle.CodeBadEntry},
		{"device", pack(t, m, tar.Header{Typeflag: tar.TypeChar, Name: "a.rego", Format: tar.FormatUSTAR}), bundle.CodeBadEntry},
		{"pipe", pack(t, m, tar.Header{Typeflag: tar.TypeFifo, Name: "a.rego", Format: tar.FormatUSTAR}), bundle.CodeBadEntry},
		{"directory", pack(t, m, tar.Header{Typeflag: tar.TypeDir, Name: "charter/", Format: tar.FormatUSTAR}), bundle.CodeBadEntry},
		{"PAX records", pack(t, m, pax), bundle.CodeBadEntry},
		{"GNU format", pack(t, m, gnu), bundle.CodeBadEntry},
		{"OPA JWT", pack(t, m, file(".signatures.json", `{"signatures":["x"]}`)), bundle.CodeJWTBundle},
		{"wasm", pack(t, m, file("policy.wasm", "")), bundle.CodeUnexpectedFile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bundle.Read(bytes.NewReader(tc.data), bundle.Limits{})
			if got := code(t, err); got != tc.want {
				t.Errorf("code %q, want %q: %v", got, tc.want, err)
			}
		})
	}
}

// A few kilobytes from the network must not become gigabytes of memory.
func TestLimits(t *testing.T) {
	m := file(".manifest", manifest)
	bomb := pack(t, m, file("data.json", strings.Repeat("0", 5<<20)))
	padded := compress(t, append(expand(t, pack(t, m)), make([]byte, 5<<20)...))
	for _, tc := range []struct {
		name string
		data []byte
		lim  bundle.Limits
		want string
	}{
		{"within", bomb, bundle.Limits{}, ""},
		{"decompression bomb", bomb, bundle.Limits{Unpacked: 1 << 20}, bundle.CodeTooLarge},
		{"bomb behind the archive", padded, bundle.Limits{Unpacked: 1 << 20}, bundle.CodeTooLarge},
		{"large archive", bomb, bundle.Limits{Compressed: int64(len(bomb)) - 1}, bundle.CodeTooLarge},
		{"just fits", bomb, bundle.Limits{Compressed: int64(len(bomb)), Unpacked: int64(len(expand(t, bomb))), Files: 2}, ""},
		{"one byte too many", bomb, bundle.Limits{Unpacked: int64(len(expand(t, bomb))) - 1}, bundle.CodeTooLarge},
		{"many files", pack(t, m, file("a.rego", ""), file("b.rego", "")), bundle.Limits{Files: 2}, bundle.CodeTooLarge},
	} {
		_, err := bundle.Read(bytes.NewReader(tc.data), tc.lim)
		if got := code(t, err); got != tc.want {
			t.Errorf("%s: code %q, want %q: %v", tc.name, got, tc.want, err)
		}
	}
}

// A header may claim what it likes: room is made for what arrives.
func TestClaimsTakeNoMemory(t *testing.T) {
	claim := file("data.json", "")
	claim.Size = 400 << 20
	var out bytes.Buffer
	if err := tar.NewWriter(&out).WriteHeader(&claim); err != nil {
		t.Fatal(err)
	}
	data := compress(t, append(out.Bytes(), make([]byte, 100<<10)...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := bundle.Read(bytes.NewReader(data), bundle.Limits{})
	runtime.ReadMemStats(&after)
	if got := code(t, err); got != bundle.CodeBadArchive {
		t.Errorf("code %q: %v", got, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a claim of 400 MiB took %d bytes", took)
	}
}

func TestReadReportsTheReader(t *testing.T) {
	data := archive(t, newBundle(t, sample()))
	broken := errors.New("connection reset")
	for n := range len(data) {
		_, err := bundle.Read(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)), bundle.Limits{})
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if _, err := bundle.Read(iotest.OneByteReader(bytes.NewReader(data)), bundle.Limits{}); err != nil {
		t.Errorf("a slow reader: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	good := archive(f, newBundle(f, sample()))
	f.Add(good)
	f.Add(expand(f, good))
	f.Add(pack(f, file(".manifest", manifest), file("a.rego", "x")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := bundle.Limits{Compressed: 1 << 20, Unpacked: 1 << 20, Files: 20}
		b, err := bundle.Read(bytes.NewReader(data), lim)
		if err != nil {
			_ = code(t, err)
			// The fuzzer cannot guess checksums of gzip: take the same as a tar.
			b, err = bundle.Read(bytes.NewReader(compress(t, data)), lim)
		}
		if err != nil {
			_ = code(t, err)
			return
		}
		back, err := bundle.Read(bytes.NewReader(archive(t, b)), bundle.Limits{})
		if err != nil || !maps.Equal(contents(b), contents(back)) {
			t.Fatalf("what was accepted cannot be written and read again: %v", err)
		}
	})
}
