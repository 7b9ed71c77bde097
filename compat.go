// SPDX-License-Identifier: MIT

package kcp

// These constants and types have the names that programs written for the existing Go package use,
// after those of the C original. kcp.go has the methods of KCP, logger.go those of logging.

// PacketType is where a datagram given to Input comes from.
type PacketType int8

// FlushType is how much a flush sends.
type FlushType int8

const (
	IKCP_PACKET_REGULAR PacketType = iota // arrived as it is
	IKCP_PACKET_FEC                       // recovered by FEC: window and timing are old
)

const (
	IKCP_FLUSH_ACKONLY FlushType = 1 << iota // pending acknowledgements alone
	IKCP_FLUSH_FULL                          // all that is due
)

// Constants of the protocol. Times are in milliseconds, windows in segments, sizes in bytes.
const (
	IKCP_RTO_NDL     = 30  // least RTO in no-delay mode
	IKCP_RTO_MIN     = 100 // least RTO
	IKCP_RTO_DEF     = 200 // RTO before the first sample
	IKCP_RTO_MAX     = 60000
	IKCP_CMD_PUSH    = cmdPush
	IKCP_CMD_ACK     = cmdAck
	IKCP_CMD_WASK    = cmdWask
	IKCP_CMD_WINS    = cmdWins
	IKCP_ASK_SEND    = 1 // a WASK is to be sent
	IKCP_ASK_TELL    = 2 // a WINS is to be sent
	IKCP_WND_SND     = wndInitial
	IKCP_WND_RCV     = wndInitial
	IKCP_MTU_DEF     = mtuDefault
	IKCP_ACK_FAST    = 3
	IKCP_INTERVAL    = 100
	IKCP_OVERHEAD    = segmentHeaderSize
	IKCP_DEADLINK    = 20 // transmissions of one segment after which legacy peers give up
	IKCP_THRESH_INIT = ssthreshInit
	IKCP_THRESH_MIN  = ssthreshMin
	IKCP_PROBE_INIT  = 500    // first window probe
	IKCP_PROBE_LIMIT = 120000 // longest wait between window probes
	IKCP_SN_OFFSET   = 12     // of sn in a segment
)

// Sizes of RingBuffer, in elements.
const (
	RINGBUFFER_MIN = ringBufferMin      // least capacity allocated
	RINGBUFFER_EXP = ringBufferDoubling // capacity up to which it doubles when full
)
