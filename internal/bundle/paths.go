package bundle

import (
	"path"
	"strings"
)

// maxPath is the longest path in bytes: what the name field of a USTAR header
// holds, so that no extension header is ever needed.
const maxPath = 100

// signatures is where OPA keeps the JWT of a signed bundle.
const signatures = ".signatures.json"

// checkPaths judges all paths of a bundle, sorted bytewise.
func checkPaths(paths []string) error {
	folded := make(map[string]string, len(paths)) // lower case, with all parents
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return err
		}
		lower := strings.ToLower(p)
		if other, ok := folded[lower]; ok {
			return newError(CodeDuplicatePath, p, "is also there as %s", other)
		}
		folded[lower] = p
	}
	for _, p := range paths {
		for dir := path.Dir(strings.ToLower(p)); dir != "."; dir = path.Dir(dir) {
			if other, ok := folded[dir]; ok {
				return newError(CodeDuplicatePath, p, "lies below the file %s", other)
			}
		}
	}
	return nil
}

// checkPath judges one path: its spelling first, then whether a charter bundle
// has such a file.
func checkPath(p string) error {
	switch {
	case p == "" || len(p) > maxPath:
		return newError(CodeBadPath, clip(p), "a path has 1 to %d bytes", maxPath)
	case strings.HasPrefix(p, "/") || path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return newError(CodeBadPath, p, "not a canonical relative path")
	case strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != "":
		return newError(CodeBadPath, clip(p), "a path has only letters, digits and . _ - /")
	case p == signatures:
		return newError(CodeJWTBundle, p, "a bundle with an OPA JWT inside is another artifact, for stock OPA only; Charter nodes refuse it")
	case p == ManifestFile, p == CharterFile, p == DataFile, strings.HasSuffix(p, regoExt):
		return nil
	default:
		return newError(CodeUnexpectedFile, p, "a charter bundle holds %s, %s, %s and %s files", ManifestFile, CharterFile, DataFile, "*"+regoExt)
	}
}

// clip bounds what a foreign path adds to a message.
func clip(p string) string {
	if len(p) > maxPath {
		return p[:maxPath] + "..."
	}
	return p
}
