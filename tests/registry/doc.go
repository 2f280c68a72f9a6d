// Package registry has package distribution judged by programs that others made: it
// stores releases in docker-registry, which has no referrers API, with a password;
// skopeo copies them both ways; cosign finds and verifies what is attached. And it asks
// the bundle API of charter-server as nodes do.
package registry
