// Package distribution moves releases: from and to OCI registries, HTTP servers,
// files and OCI image layouts, which go where no network does.
//
// [ParseRef] reads a reference, [Open] makes a [Source] of it that a node asks again
// and again, [Fetch] gets a release at once. [Push] and [Attach] publish, [Save] and
// [Load] carry releases through an air gap, [Tree] shows what is there.
//
// What is returned is what its digest says: the manifest is hashed here even when the
// reference pins a digest, and the layer before it is handed out. Nothing is
// verified beyond that: who signed, and whether the release is the newest, is for
// others to decide. Every byte and number that a server controls has a limit
// ([Limits]). An unchanged release costs no download of a layer or a statement.
package distribution
