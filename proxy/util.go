package proxy

import "strconv"

var crlf = []byte("\r\n")

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
