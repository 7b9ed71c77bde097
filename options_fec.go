// SPDX-License-Identifier: MIT

package kcp

// FECMode is who chooses the groups of data and parity packets that a session sends. Each side
// chooses for what it sends.
type FECMode string

const (
	// FECFixed sends the groups that Config.DataShards and Config.ParityShards, or SetFEC, give. It
	// is the default, as is "".
	FECFixed FECMode = "fixed"

	// FECAuto chooses the groups by the loss that is measured, by its runs, and by the packets a
	// second. At most six parity packets are sent for ten data packets, and none where they do not
	// help: in a round trip below 20 ms, where less than 0.5 % is lost, where a group would take
	// longer than a retransmission, while a queue stands on the path, and for data that the path
	// limits, such as a transfer.
	//
	// It is for peers of this library. A legacy peer is sent what DataShards and ParityShards say,
	// which may be zero. SetFEC has no lasting effect.
	FECAuto FECMode = "auto"
)

// setFEC checks and sets who chooses the groups.
func (o *options) setFEC(mode FECMode) error {
	switch mode {
	case "", FECFixed:
	case FECAuto:
		o.chooser = fecAutomatic
	default:
		return badArgument("Config.FEC", mode, "fixed or auto")
	}
	return nil
}
