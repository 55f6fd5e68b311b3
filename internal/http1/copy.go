package http1

// A SourceError is a body that could not be read to its end; the other errors of [Copy] are its sink's.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "body: " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Copy sends src to dst, piece by piece as it comes, its trailers too, and finishes dst. Chunks are framed anew. It returns a [*SourceError],
// dst not finished, if src fails. Between connections that can, a large body goes past this process's memory.
func Copy(dst Sink, src Source) error { panic("not written") }
