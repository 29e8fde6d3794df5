package tensorboard

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// appendRecord appends data in the record format:
//
//	uint64 length, uint32 masked CRC32C of length, data, uint32 masked CRC32C of data
//
// all little-endian.
func appendRecord(b, data []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b[at:]))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// maskedCRC is the CRC32C, rotated right by 15 bits, plus a constant: a checksum of data that holds checksums itself would be
// weak otherwise.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// The messages, with the numbers of their fields. Fields that are zero are not written, but for the members of a oneof.
//
//	Event           1 wall_time double, 2 step int64, oneof what: 3 file_version string, 5 summary Summary, 7 session_log SessionLog
//	Summary         1 value repeated Value
//	Summary.Value   1 tag string, oneof value: 2 simple_value float, 5 histo HistogramProto
//	HistogramProto  1 min, 2 max, 3 num, 4 sum, 5 sum_squares double, 6 bucket_limit, 7 bucket repeated double, packed
//	SessionLog      1 status enum: START = 1
type event struct {
	wallTime float64 // seconds since 1970
	step     int
	version  string
	value    *summaryValue
	start    bool
}

type summaryValue struct {
	tag       string
	scalar    float32
	histogram *Histogram // nil for a scalar
}

// Wire types of the encoding.
const (
	varint  = 0
	fixed64 = 1
	lengthy = 2
	fixed32 = 5
)

func key(b []byte, field, wire uint64) []byte { return binary.AppendUvarint(b, field<<3|wire) }

func appendBytes[T string | []byte](b []byte, field uint64, v T) []byte {
	b = binary.AppendUvarint(key(b, field, lengthy), uint64(len(v)))
	return append(b, v...)
}

func appendDouble(b []byte, field uint64, v float64) []byte {
	return binary.LittleEndian.AppendUint64(key(b, field, fixed64), math.Float64bits(v))
}

func appendPacked(b []byte, field uint64, v []float64) []byte {
	b = binary.AppendUvarint(key(b, field, lengthy), uint64(8*len(v)))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

func (e *event) append(b []byte) []byte {
	b = appendDouble(b, 1, e.wallTime)
	if e.step != 0 {
		b = binary.AppendUvarint(key(b, 2, varint), uint64(e.step))
	}
	switch {
	case e.version != "":
		b = appendBytes(b, 3, e.version)
	case e.value != nil:
		b = appendBytes(b, 5, appendBytes(nil, 1, e.value.append(nil)))
	case e.start:
		b = appendBytes(b, 7, []byte{1<<3 | varint, 1})
	}
	return b
}

func (v *summaryValue) append(b []byte) []byte {
	b = appendBytes(b, 1, v.tag)
	if v.histogram == nil {
		return binary.LittleEndian.AppendUint32(key(b, 2, fixed32), math.Float32bits(v.scalar))
	}
	h := v.histogram
	var m []byte
	for i, x := range []float64{h.Min, h.Max, h.Num, h.Sum, h.SumSquares} {
		if x != 0 {
			m = appendDouble(m, uint64(i+1), x)
		}
	}
	if len(h.Limits) > 0 {
		m = appendPacked(appendPacked(m, 6, h.Limits), 7, h.Counts)
	}
	return appendBytes(b, 5, m)
}
