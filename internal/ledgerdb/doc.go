// Package ledgerdb keeps ledgers in SQL databases: [OpenSQLite] in the files of a
// directory, for one machine, and [OpenPostgres] in a database server, when that is
// outgrown; [Open] takes either. Both are a [ledger.Store], and pass the same tests.
//
// SQLite holds the truth in ledger.db: bodies, their hashes, full tiles and
// signed checkpoints, and nothing that follows from them. A commit is one
// transaction with synchronous=FULL. What queries need is in index.db, which is
// filled a moment later, may lose its end in a crash, can be deleted, and is
// rebuilt from ledger.db; queries look at the entries that it lacks, one by one.
//
// Damage that SQLite does not see is looked for: in its write-ahead log before it
// is opened, and by comparing the log with the checkpoint in the file head, which
// is written a moment after the commit.
package ledgerdb
