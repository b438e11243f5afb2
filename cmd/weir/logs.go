package main

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// systemLog writes one JSON object a line to w: what a person has to know.
func systemLog(w io.Writer, level zap.AtomicLevel) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "ts",
		LevelKey:       "level",
		MessageKey:     "msg",
		StacktraceKey:  "stack",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

// Requests come by the thousand; their records leave in large writes.
const (
	accessBuffer = 256 << 10
	accessFlush  = time.Second
)

// accessLog writes one JSON object a request to w, buffered. Level and
// message would be the same in all of them, and are left out. flush writes
// what is still held and ends the buffer's goroutine.
func accessLog(w io.Writer) (log *zap.Logger, flush func() error) {
	buffer := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(w), Size: accessBuffer, FlushInterval: accessFlush}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "ts",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, buffer, zap.InfoLevel)), buffer.Stop
}
