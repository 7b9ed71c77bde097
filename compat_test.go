// SPDX-License-Identifier: MIT

package kcp

import (
	"reflect"
	"testing"
)

// The constants are untyped: programs mix them with int and with uint32.
func TestConstantsKeepTheirValues(t *testing.T) {
	tests := []struct {
		name     string
		asInt    int
		asUint32 uint32
		want     int
	}{
		{"IKCP_RTO_NDL", IKCP_RTO_NDL, IKCP_RTO_NDL, 30},
		{"IKCP_RTO_MIN", IKCP_RTO_MIN, IKCP_RTO_MIN, 100},
		{"IKCP_RTO_DEF", IKCP_RTO_DEF, IKCP_RTO_DEF, 200},
		{"IKCP_RTO_MAX", IKCP_RTO_MAX, IKCP_RTO_MAX, 60000},
		{"IKCP_CMD_PUSH", IKCP_CMD_PUSH, IKCP_CMD_PUSH, 81},
		{"IKCP_CMD_ACK", IKCP_CMD_ACK, IKCP_CMD_ACK, 82},
		{"IKCP_CMD_WASK", IKCP_CMD_WASK, IKCP_CMD_WASK, 83},
		{"IKCP_CMD_WINS", IKCP_CMD_WINS, IKCP_CMD_WINS, 84},
		{"IKCP_ASK_SEND", IKCP_ASK_SEND, IKCP_ASK_SEND, 1},
		{"IKCP_ASK_TELL", IKCP_ASK_TELL, IKCP_ASK_TELL, 2},
		{"IKCP_WND_SND", IKCP_WND_SND, IKCP_WND_SND, 32},
		{"IKCP_WND_RCV", IKCP_WND_RCV, IKCP_WND_RCV, 32},
		{"IKCP_MTU_DEF", IKCP_MTU_DEF, IKCP_MTU_DEF, 1400},
		{"IKCP_ACK_FAST", IKCP_ACK_FAST, IKCP_ACK_FAST, 3},
		{"IKCP_INTERVAL", IKCP_INTERVAL, IKCP_INTERVAL, 100},
		{"IKCP_OVERHEAD", IKCP_OVERHEAD, IKCP_OVERHEAD, 24},
		{"IKCP_DEADLINK", IKCP_DEADLINK, IKCP_DEADLINK, 20},
		{"IKCP_THRESH_INIT", IKCP_THRESH_INIT, IKCP_THRESH_INIT, 2},
		{"IKCP_THRESH_MIN", IKCP_THRESH_MIN, IKCP_THRESH_MIN, 2},
		{"IKCP_PROBE_INIT", IKCP_PROBE_INIT, IKCP_PROBE_INIT, 500},
		{"IKCP_PROBE_LIMIT", IKCP_PROBE_LIMIT, IKCP_PROBE_LIMIT, 120000},
		{"IKCP_SN_OFFSET", IKCP_SN_OFFSET, IKCP_SN_OFFSET, 12},
		{"RINGBUFFER_MIN", RINGBUFFER_MIN, RINGBUFFER_MIN, 8},
		{"RINGBUFFER_EXP", RINGBUFFER_EXP, RINGBUFFER_EXP, 1024},
	}
	for _, tt := range tests {
		if tt.asInt != tt.want || tt.asUint32 != uint32(tt.want) {
			t.Errorf("%s = %d, want %d", tt.name, tt.asInt, tt.want)
		}
	}
}

func TestFlagTypesKeepTheirValues(t *testing.T) {
	const (
		outputAll = 1<<0 | 1<<4 | 1<<5 | 1<<6 | 1<<7
		inputAll  = 1<<1 | 1<<8 | 1<<9 | 1<<10 | 1<<11
	)
	logTypes := []struct {
		name string
		got  any
		want KCPLogType
	}{
		{"IKCP_LOG_OUTPUT", IKCP_LOG_OUTPUT, 1 << 0},
		{"IKCP_LOG_INPUT", IKCP_LOG_INPUT, 1 << 1},
		{"IKCP_LOG_SEND", IKCP_LOG_SEND, 1 << 2},
		{"IKCP_LOG_RECV", IKCP_LOG_RECV, 1 << 3},
		{"IKCP_LOG_OUT_ACK", IKCP_LOG_OUT_ACK, 1 << 4},
		{"IKCP_LOG_OUT_PUSH", IKCP_LOG_OUT_PUSH, 1 << 5},
		{"IKCP_LOG_OUT_WASK", IKCP_LOG_OUT_WASK, 1 << 6},
		{"IKCP_LOG_OUT_WINS", IKCP_LOG_OUT_WINS, 1 << 7},
		{"IKCP_LOG_IN_ACK", IKCP_LOG_IN_ACK, 1 << 8},
		{"IKCP_LOG_IN_PUSH", IKCP_LOG_IN_PUSH, 1 << 9},
		{"IKCP_LOG_IN_WASK", IKCP_LOG_IN_WASK, 1 << 10},
		{"IKCP_LOG_IN_WINS", IKCP_LOG_IN_WINS, 1 << 11},
		{"IKCP_LOG_OUTPUT_ALL", IKCP_LOG_OUTPUT_ALL, outputAll},
		{"IKCP_LOG_INPUT_ALL", IKCP_LOG_INPUT_ALL, inputAll},
		{"IKCP_LOG_ALL", IKCP_LOG_ALL, 1<<12 - 1},
	}
	for _, tt := range logTypes {
		if tt.got != any(tt.want) {
			t.Errorf("%s = %#v, want %#v", tt.name, tt.got, tt.want)
		}
	}

	flushTypes := []any{IKCP_FLUSH_ACKONLY, IKCP_FLUSH_FULL}
	if want := []any{FlushType(1), FlushType(2)}; !reflect.DeepEqual(flushTypes, want) {
		t.Errorf("IKCP_FLUSH_ACKONLY, IKCP_FLUSH_FULL = %#v, want %#v", flushTypes, want)
	}
	if IKCP_PACKET_REGULAR == IKCP_PACKET_FEC {
		t.Errorf("IKCP_PACKET_REGULAR and IKCP_PACKET_FEC are both %#v", IKCP_PACKET_FEC)
	}
}
