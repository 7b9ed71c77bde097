-- SPDX-License-Identifier: MIT
--
-- Wireshark dissector for KCP over UDP: segments, FEC headers (data, parity,
-- out of band) and control messages, as docs/protocol.md describes them.
-- README.md beside this file describes how to install and use it. kcp_aes.lua beside it decrypts.

local kcp = Proto("kcp", "KCP Reliable UDP")

local HEADER = 24 -- of a segment
local FEC_HEADER = 8
local CRYPTO_HEADER = 20 -- nonce and CRC-32
local PUSH, ACK, WASK, WINS = 81, 82, 83, 84
local FEC_DATA, FEC_PARITY, FEC_OOB, FEC_GROUP = 0xF1, 0xF2, 0xF3, 0xF4
local GROUP_HEADER = 14 -- of parity that names its group
local CONTROL_MAGIC, CONTROL_VERSION = 0x5850434B, 1

local commands = { [PUSH] = "PUSH", [ACK] = "ACK", [WASK] = "WASK", [WINS] = "WINS" }
local fec_types = { [FEC_DATA] = "data", [FEC_PARITY] = "parity", [FEC_OOB] = "out of band", [FEC_GROUP] = "parity of a named group" }
local control_types = {
	[1] = "HELLO", [2] = "FIN", [3] = "FINACK", [4] = "RESET", [5] = "PING", [6] = "PONG", [7] = "ACKR", [8] = "RPRT",
	[9] = "PAD", [10] = "KEX1", [11] = "KEX2", [12] = "SKIP",
}
local reset_codes = {
	[1] = "aborted", [2] = "closed and not read any more", [3] = "a FIN that moved", [4] = "never accepted", [5] = "no such session",
}

local f = {
	conv = ProtoField.uint32("kcp.conv", "Conversation", base.HEX),
	cmd = ProtoField.uint8("kcp.cmd", "Command", base.DEC, commands),
	frg = ProtoField.uint8("kcp.frg", "Fragments to follow", base.DEC),
	wnd = ProtoField.uint16("kcp.wnd", "Window", base.DEC),
	ts = ProtoField.uint32("kcp.ts", "Time stamp (ms)", base.DEC),
	sn = ProtoField.uint32("kcp.sn", "Sequence number", base.DEC),
	una = ProtoField.uint32("kcp.una", "All received below", base.DEC),
	len = ProtoField.uint32("kcp.len", "Length", base.DEC),
	data = ProtoField.bytes("kcp.data", "Data"),

	seqid = ProtoField.uint32("kcp.fec.seqid", "Seqid", base.DEC),
	fec_type = ProtoField.uint16("kcp.fec.type", "Type", base.HEX, fec_types),
	size = ProtoField.uint16("kcp.fec.size", "Size", base.DEC),
	parity = ProtoField.bytes("kcp.fec.parity", "Parity"),
	group_first = ProtoField.uint32("kcp.fec.first", "First of the group", base.DEC),
	group_index = ProtoField.uint8("kcp.fec.index", "Index", base.DEC),
	group_data = ProtoField.uint8("kcp.fec.k", "Data packets of the group", base.DEC),
	group_parity = ProtoField.uint8("kcp.fec.p", "Parity packets of the group", base.DEC),
	group_check = ProtoField.uint32("kcp.fec.check", "Parity of the checks", base.HEX),
	oob = ProtoField.bytes("kcp.oob.data", "Out-of-band data"),

	ctl_version = ProtoField.uint32("kcp.control.version", "Version", base.DEC),
	ctl_type = ProtoField.uint8("kcp.control.type", "Type", base.DEC, control_types),
	ctl_len = ProtoField.uint8("kcp.control.len", "Length", base.DEC),
	ctl_value = ProtoField.bytes("kcp.control.value", "Value"),
	incarnation = ProtoField.uint64("kcp.hello.incarnation", "Incarnation", base.HEX),
	heard = ProtoField.uint64("kcp.hello.heard", "Heard", base.HEX),
	flags = ProtoField.uint32("kcp.hello.flags", "Flags", base.HEX),
	shared = ProtoField.bool("kcp.hello.shared", "Sessions share this address on purpose", 32, nil, 1),
	marks = ProtoField.bool("kcp.hello.marks", "Nonces tell who has sent a packet", 32, nil, 2),
	ranges = ProtoField.bool("kcp.hello.ranges", "Reads ACKR", 32, nil, 4),
	groups = ProtoField.bool("kcp.hello.groups", "Reads parity that names its group", 32, nil, 8),
	skips = ProtoField.bool("kcp.hello.skips", "Reads SKIP", 32, nil, 128),
	parts = ProtoField.bool("kcp.hello.parts", "Reads segments in parts", 32, nil, 256),
	keys = ProtoField.bool("kcp.hello.keys", "Makes session keys", 32, nil, 16),
	opens = ProtoField.bool("kcp.hello.opens", "The WASK in front opens the session", 32, nil, 64),
	proved = ProtoField.bool("kcp.hello.proved", "The receiver's address is proved", 32, nil, 32),
	largest = ProtoField.uint16("kcp.hello.largest", "Largest datagram that can be received", base.DEC),
	final = ProtoField.uint32("kcp.final", "Final", base.DEC),
	code = ProtoField.uint16("kcp.reset.code", "Code", base.DEC, reset_codes),
	reset_for = ProtoField.uint64("kcp.reset.incarnation", "For the incarnation", base.HEX),
	reset_echo = ProtoField.uint64("kcp.reset.echo", "Answers the number or the final", base.HEX),
	pad = ProtoField.bytes("kcp.pad", "Padding"),
	suite = ProtoField.uint8("kcp.kex.suite", "Suite", base.DEC),
	kex = ProtoField.bytes("kcp.kex.message", "Handshake message"),
	number = ProtoField.uint64("kcp.ping.number", "Number", base.HEX),
	ackr_ts = ProtoField.uint32("kcp.ackr.ts", "Time stamp of the newest data", base.DEC),
	ackr_next = ProtoField.uint32("kcp.ackr.rcv_nxt", "All received below", base.DEC),
	ackr_count = ProtoField.uint8("kcp.ackr.count", "Ranges", base.DEC),
	ackr_ect0 = ProtoField.uint32("kcp.ackr.ect0", "Datagrams with ECT(0)", base.DEC),
	ackr_ect1 = ProtoField.uint32("kcp.ackr.ect1", "Datagrams with ECT(1)", base.DEC),
	ackr_ce = ProtoField.uint32("kcp.ackr.ce", "Datagrams with CE", base.DEC),
	ackr_range = ProtoField.string("kcp.ackr.range", "Received"),
	skip_ts = ProtoField.uint32("kcp.skip.ts", "Time stamp (ms)", base.DEC),
	skip_sn = ProtoField.uint32("kcp.skip.sn", "Acknowledged by", base.DEC),
	skip_first = ProtoField.uint32("kcp.skip.first", "First", base.DEC),
	skip_count = ProtoField.uint8("kcp.skip.count", "Runs", base.DEC),
	skip_run = ProtoField.string("kcp.skip.run", "Given up"),

	rprt_first = ProtoField.uint32("kcp.rprt.first", "First data packet", base.DEC),
	rprt_last = ProtoField.uint32("kcp.rprt.last", "Last data packet", base.DEC),
	rprt_data = ProtoField.uint32("kcp.rprt.data", "Data packets received", base.DEC),
	rprt_parity = ProtoField.uint32("kcp.rprt.parity", "Parity packets received", base.DEC),
	rprt_recovered = ProtoField.uint32("kcp.rprt.recovered", "Data packets recovered", base.DEC),
	rprt_longest = ProtoField.uint16("kcp.rprt.longest", "Longest run of packets not received", base.DEC),

	nonce = ProtoField.bytes("kcp.crypto.nonce", "Nonce"),
	crc = ProtoField.uint32("kcp.crypto.crc", "CRC-32", base.HEX),
}
for _, field in pairs(f) do table.insert(kcp.fields, field) end

local e = {
	truncated = ProtoExpert.new("kcp.truncated", "The length goes beyond the datagram", expert.group.MALFORMED, expert.severity.ERROR),
	unknown = ProtoExpert.new("kcp.unknown", "No such command", expert.group.MALFORMED, expert.severity.ERROR),
	other_conv = ProtoExpert.new("kcp.other_conv", "Another conversation in the same datagram", expert.group.MALFORMED, expert.severity.ERROR),
	short = ProtoExpert.new("kcp.short", "Too short for a segment", expert.group.MALFORMED, expert.severity.ERROR),
	bad_size = ProtoExpert.new("kcp.fec.bad_size", "The size is not that of the datagram", expert.group.MALFORMED, expert.severity.ERROR),
	bad_control = ProtoExpert.new("kcp.control.malformed", "The length of a control message goes beyond the segment", expert.group.MALFORMED, expert.severity.ERROR),
	bad_ranges = ProtoExpert.new("kcp.ackr.malformed", "A range is empty or cut off", expert.group.MALFORMED, expert.severity.ERROR),
	bad_skips = ProtoExpert.new("kcp.skip.malformed", "A run is empty or cut off", expert.group.MALFORMED, expert.severity.ERROR),
	bad_group = ProtoExpert.new("kcp.fec.bad_group", "The fields of the group do not fit each other", expert.group.MALFORMED, expert.severity.ERROR),
	closed = ProtoExpert.new("kcp.crypto.closed", "No key opens it", expert.group.DECRYPTION, expert.severity.WARN),
	data_in = ProtoExpert.new("kcp.unexpected_data", "Data in a segment that has none", expert.group.PROTOCOL, expert.severity.WARN),
	window = ProtoExpert.new("kcp.window_full", "The receive window is full", expert.group.SEQUENCE, expert.severity.NOTE),
	reset = ProtoExpert.new("kcp.reset", "The session is reset", expert.group.SEQUENCE, expert.severity.WARN),
}
for _, info in pairs(e) do table.insert(kcp.experts, info) end

kcp.prefs.ports = Pref.range("UDP ports", "", "Ports whose datagrams are taken for KCP", 65535)
kcp.prefs.heuristic = Pref.bool("Recognise KCP by its bytes", true, "On any port, by lengths, commands and FEC headers that fit")
local AES_CFB, AES_GCM = 1, 2
kcp.prefs.crypto = Pref.enum("Cipher", 0, "How datagrams are protected. kcpdump -w decrypts captures of the other ciphers", {
	{ 1, "none (no cipher)", 0 },
	{ 2, "20 bytes (the cipher 'none')", CRYPTO_HEADER },
	{ 3, "AES-CFB", AES_CFB },
	{ 4, "AES-GCM", AES_GCM },
}, false)
kcp.prefs.key = Pref.string("Key", "", "The key of AES in hexadecimal: 16, 24 or 32 bytes")
kcp.prefs.keylog = Pref.string("Key log", "", "Name of a file with ciphers and keys, as kcpperf --keylog writes it")

-- walk calls visit(offset, cmd, len) for each whole segment from offset on. It
-- returns where it ended, and the name of the fault that ended it, if one did.
local function walk(tvb, offset, visit)
	local conv
	while offset < tvb:len() do
		if tvb:len() - offset < HEADER then return offset, "short" end
		local c, cmd, len = tvb(offset, 4):le_uint(), tvb(offset + 4, 1):uint(), tvb(offset + 20, 4):le_uint()
		if conv and c ~= conv then return offset, "other_conv" end
		conv = c
		if len > tvb:len() - offset - HEADER then return offset, "truncated" end
		if not commands[cmd] then return offset, "unknown" end
		if visit(offset, cmd, len) == false then return offset, "visit" end
		offset = offset + HEADER + len
	end
	return offset, nil
end

-- kind returns what a datagram from offset on is: a FEC type, or nil for plain
-- segments, which cannot have these bytes there.
local function kind(tvb, offset)
	if tvb:len() - offset < FEC_HEADER then return nil end
	local t = tvb(offset + 4, 2):le_uint()
	return fec_types[t] and t or nil
end

local function size_fits(tvb, offset)
	return tvb(offset + 6, 2):le_uint() == tvb:len() - offset - 6
end

-- plausible is the heuristic: everything in the datagram fits. Only its type
-- identifies parity, which is therefore accepted in known conversations only.
local function plausible(tvb, offset)
	local t = kind(tvb, offset)
	if t == FEC_PARITY or t == FEC_GROUP then return false end
	if t == FEC_OOB then
		return tvb(offset, 4):le_uint() == 0xFFFFFFFF and size_fits(tvb, offset) and tvb:len() - offset > FEC_HEADER + 4
	end
	if t == FEC_DATA then
		if not size_fits(tvb, offset) then return false end
		offset = offset + FEC_HEADER
	end
	if tvb:len() - offset < HEADER then return false end
	local _, fault = walk(tvb, offset, function(at, cmd, len)
		local frg = tvb(at + 5, 1):uint()
		return cmd == PUSH or frg == 0 and (len == 0 or cmd == WINS)
	end)
	return fault == nil
end

-- varint reads a number of 7 bits a byte at an offset of v. It returns the
-- number and the offset behind it, or nil if it is cut off or longer than 5
-- bytes.
local function varint(v, at)
	local number, unit = 0, 1
	for i = at, math.min(at + 4, v:len() - 1) do
		local byte = v(i, 1):uint()
		number = number + (byte % 128) * unit
		if byte < 128 then return number, i + 1 end
		unit = unit * 128
	end
	return nil
end

-- least lengths of the values of control messages
local value_sizes = { [1] = 20, [2] = 4, [3] = 4, [4] = 10, [5] = 8, [6] = 8, [7] = 9, [8] = 22, [9] = 0, [10] = 1, [11] = 1, [12] = 13 }

local control_values = {
	[1] = function(v, tree)
		tree:add_le(f.incarnation, v(0, 8))
		tree:add_le(f.heard, v(8, 8))
		local flags = tree:add_le(f.flags, v(16, 4))
		flags:add_le(f.shared, v(16, 4))
		flags:add_le(f.marks, v(16, 4))
		flags:add_le(f.ranges, v(16, 4))
		flags:add_le(f.groups, v(16, 4))
		flags:add_le(f.skips, v(16, 4))
		flags:add_le(f.parts, v(16, 4))
		flags:add_le(f.keys, v(16, 4))
		flags:add_le(f.opens, v(16, 4))
		flags:add_le(f.proved, v(16, 4))
		if v:len() >= 22 then tree:add_le(f.largest, v(20, 2)) end
		return ""
	end,
	[2] = function(v, tree)
		tree:add_le(f.final, v(0, 4))
		return " final=" .. v(0, 4):le_uint()
	end,
	[4] = function(v, tree)
		local item = tree:add_le(f.code, v(0, 2))
		item:add_proto_expert_info(e.reset)
		tree:add_le(f.reset_for, v(2, 8))
		if v:len() >= 18 then tree:add_le(f.reset_echo, v(10, 8)) end
		local code = v(0, 2):le_uint()
		return " (" .. (reset_codes[code] or code) .. ")"
	end,
	[5] = function(v, tree)
		tree:add_le(f.number, v(0, 8))
		return ""
	end,
	[8] = function(v, tree)
		for i, name in ipairs({ "rprt_first", "rprt_last", "rprt_data", "rprt_parity", "rprt_recovered" }) do
			tree:add_le(f[name], v(4 * i - 4, 4))
		end
		tree:add_le(f.rprt_longest, v(20, 2))
		return string.format(" %.0f-%.0f data=%.0f recovered=%.0f", v(0, 4):le_uint(), v(4, 4):le_uint(), v(8, 4):le_uint(), v(16, 4):le_uint())
	end,
	[7] = function(v, tree)
		tree:add_le(f.ackr_ts, v(0, 4))
		tree:add_le(f.ackr_next, v(4, 4))
		tree:add(f.ackr_count, v(8, 1))
		local sn, at, text = v(4, 4):le_uint(), 9, ""
		for _ = 1, v(8, 1):uint() do
			local gap, behind = varint(v, at)
			local length, stop
			if gap then length, stop = varint(v, behind) end
			if not length or length == 0 then
				tree:add_proto_expert_info(e.bad_ranges)
				return text .. " [malformed ranges]"
			end
			local first = (sn + gap) % 0x100000000
			local last = (first + length - 1) % 0x100000000
			local range = string.format(first == last and "%.0f" or "%.0f-%.0f", first, last)
			tree:add(f.ackr_range, v(at, stop - at), range)
			text = text .. " " .. range
			sn, at = (last + 1) % 0x100000000, stop
		end
		if v:len() - at >= 12 then
			tree:add_le(f.ackr_ect0, v(at, 4))
			tree:add_le(f.ackr_ect1, v(at + 4, 4))
			tree:add_le(f.ackr_ce, v(at + 8, 4))
		end
		return text
	end,
	[9] = function(v, tree)
		if v:len() > 0 then tree:add(f.pad, v) end
		return " len=" .. v:len()
	end,
	[10] = function(v, tree)
		tree:add(f.suite, v(0, 1))
		if v:len() > 1 then tree:add(f.kex, v(1)) end
		return " suite=" .. v(0, 1):uint() .. " len=" .. v:len() - 1
	end,
}
control_values[12] = function(v, tree)
	tree:add_le(f.skip_ts, v(0, 4))
	tree:add_le(f.skip_sn, v(4, 4))
	tree:add_le(f.skip_first, v(8, 4))
	tree:add(f.skip_count, v(12, 1))
	local sn, at, text = v(8, 4):le_uint(), 13, ""
	for _ = 1, v(12, 1):uint() do
		local gap, a = varint(v, at)
		local fragments, b, messages, stop
		if gap then fragments, b = varint(v, a) end
		if fragments then messages, stop = varint(v, b) end
		if not messages or messages == 0 or fragments == 0 then
			tree:add_proto_expert_info(e.bad_skips)
			return text .. " [malformed runs]"
		end
		local first = (sn + gap) % 0x100000000
		local last = (first + fragments * messages - 1) % 0x100000000
		local run = string.format(first == last and "%.0f" or "%.0f-%.0f", first, last)
		tree:add(f.skip_run, v(at, stop - at), run)
		text = text .. " " .. run
		sn, at = (last + 1) % 0x100000000, stop
	end
	return text
end
control_values[3], control_values[6], control_values[11] = control_values[2], control_values[5], control_values[10]

-- control shows the messages in a control segment's data.
local function control(range, tree, words)
	local offset = 0
	while offset < range:len() do
		local left = range:len() - offset
		if left < 2 or range(offset + 1, 1):uint() > left - 2 then
			tree:add_proto_expert_info(e.bad_control)
			table.insert(words, "[malformed control message]")
			return
		end
		local t, len = range(offset, 1):uint(), range(offset + 1, 1):uint()
		local name = control_types[t] or ("type " .. t)
		local item = tree:add(range(offset, 2 + len), "Control message: " .. name)
		item:add(f.ctl_type, range(offset, 1))
		item:add(f.ctl_len, range(offset + 1, 1))
		local text = ""
		if control_values[t] and len >= value_sizes[t] then
			text = control_values[t](len > 0 and range(offset + 2, len) or range(offset, 0), item)
		elseif len > 0 then
			item:add(f.ctl_value, range(offset + 2, len))
		end
		item:append_text(text)
		table.insert(words, name .. text)
		offset = offset + 2 + len
	end
end

-- segment shows one segment.
local function segment(tvb, offset, cmd, len, tree, words)
	local range = tvb(offset, HEADER + len)
	local sn, wnd = tvb(offset + 12, 4):le_uint(), tvb(offset + 6, 2):le_uint()
	local is_control = cmd == WINS and sn == CONTROL_MAGIC and len > 0
	local item = tree:add(range, "Segment: " .. commands[cmd])
	item:add_le(f.conv, tvb(offset, 4))
	item:add(f.cmd, tvb(offset + 4, 1))
	item:add(f.frg, tvb(offset + 5, 1))
	local window = item:add_le(f.wnd, tvb(offset + 6, 2))
	if wnd == 0 then window:add_proto_expert_info(e.window) end
	item:add_le(is_control and f.ctl_version or f.ts, tvb(offset + 8, 4))
	item:add_le(f.sn, tvb(offset + 12, 4)):append_text(is_control and ' ("KCPX": control messages)' or "")
	item:add_le(f.una, tvb(offset + 16, 4))
	item:add_le(f.len, tvb(offset + 20, 4))
	if cmd == PUSH or cmd == ACK then item:append_text(" sn=" .. sn) end
	if len > 0 then
		local data = tvb(offset + HEADER, len)
		if is_control and tvb(offset + 8, 4):le_uint() == CONTROL_VERSION then
			control(data, item, words)
			return
		end
		item:add(f.data, data)
		if cmd ~= PUSH and not is_control then item:add_proto_expert_info(e.data_in) end
	end
	-- Neighbours of one kind with consecutive numbers are one entry.
	local last = words[#words]
	if type(last) == "table" and last.cmd == cmd and (cmd == PUSH or cmd == ACK) and sn == last.to + 1 then
		last.to, last.len = sn, last.len + len
	else
		table.insert(words, { cmd = cmd, from = sn, to = sn, len = len })
	end
end

local function word(w)
	if type(w) == "string" then return w end
	local text = commands[w.cmd]
	if w.cmd == PUSH or w.cmd == ACK then
		text = text .. " sn=" .. w.from .. (w.to ~= w.from and "-" .. w.to or "")
	end
	if w.len > 0 then text = text .. " len=" .. w.len end
	return text
end

-- segments shows what is left of the datagram as segments and returns the
-- text for the Info column.
local function segments(tvb, offset, tree)
	local words, conv, una, wnd = {}, nil, nil, nil
	local stop, fault = walk(tvb, offset, function(at, cmd, len)
		segment(tvb, at, cmd, len, tree, words)
		conv, una, wnd = tvb(at, 4):le_uint(), tvb(at + 16, 4):le_uint(), tvb(at + 6, 2):le_uint()
	end)
	if fault then
		local item = tree:add(tvb(stop), "Rest of the datagram, which receivers drop")
		item:add_proto_expert_info(e[fault])
		table.insert(words, "[" .. fault:gsub("_", " ") .. "]")
	elseif stop == offset then
		tree:add_proto_expert_info(e.short)
		table.insert(words, "[empty]")
	end
	for i, w in ipairs(words) do words[i] = word(w) end
	local text = table.concat(words, ", ")
	if conv then text = string.format("%08x %s, una=%d wnd=%d", conv, text, una, wnd) end
	return text
end

local function fec(tvb, offset, t, tree)
	local seqid = tvb(offset, 4):le_uint()
	local header = tree:add(tvb(offset, FEC_HEADER), "FEC: " .. fec_types[t])
	header:add_le(f.seqid, tvb(offset, 4))
	header:add_le(f.fec_type, tvb(offset + 4, 2))
	if t == FEC_PARITY then
		tree:add(f.parity, tvb(offset + 6))
		return "FEC parity seqid=" .. seqid .. " len=" .. (tvb:len() - offset - 6)
	end
	if t == FEC_GROUP then
		local len = tvb:len() - offset - GROUP_HEADER - 4
		if len < 2 then
			tree:add_proto_expert_info(e.short)
			return "FEC parity seqid=" .. seqid .. " [short]"
		end
		header:set_len(GROUP_HEADER + 4)
		header:add(f.group_index, tvb(offset + 6, 1))
		header:add(f.group_data, tvb(offset + 7, 1))
		header:add(f.group_parity, tvb(offset + 8, 1))
		header:add_le(f.group_first, tvb(offset + 10, 4))
		header:add_le(f.group_check, tvb(offset + GROUP_HEADER, 4))
		tree:add(f.parity, tvb(offset + GROUP_HEADER + 4))
		local first, k = tvb(offset + 10, 4):le_uint(), tvb(offset + 7, 1):uint()
		local i, p = tvb(offset + 6, 1):uint(), tvb(offset + 8, 1):uint()
		if k == 0 or i >= p or k + p > 256 or tvb(offset + 9, 1):uint() ~= 0 or (first + k) % 0x100000000 ~= seqid then
			header:add_proto_expert_info(e.bad_group)
			return "FEC parity seqid=" .. seqid .. " [bad group]"
		end
		return string.format("FEC parity %d/%d of %.0f-%.0f len=%d", tvb(offset + 6, 1):uint() + 1,
			tvb(offset + 8, 1):uint(), first, (first + k - 1) % 0x100000000, len)
	end
	local size = header:add_le(f.size, tvb(offset + 6, 2))
	local note = ""
	if not size_fits(tvb, offset) then
		size:add_proto_expert_info(e.bad_size)
		note = " [bad size]"
	end
	offset = offset + FEC_HEADER
	if t == FEC_DATA then
		return "FEC data seqid=" .. seqid .. note .. ": " .. segments(tvb, offset, tree)
	end
	if tvb:len() - offset < 4 then
		tree:add_proto_expert_info(e.short)
		return "out of band [short]"
	end
	tree:add_le(f.conv, tvb(offset, 4))
	local len = tvb:len() - offset - 4
	if len > 0 then tree:add(f.oob, tvb(offset + 4)) end
	return string.format("%08x out of band%s len=%d", tvb(offset, 4):le_uint(), note, len)
end

-- follows reports whether a datagram seems to begin at an offset.
local function follows(tvb, offset)
	if offset >= tvb:len() then return false end
	if kind(tvb, offset) then return true end
	local first
	walk(tvb, offset, function(at)
		first = at
		return false
	end)
	return first ~= nil
end

-- split returns the datagrams in a packet. Linux hands several of one size to the network card as
-- one, which the card cuts: a capture on the sending machine has them together. The size in a FEC
-- header shows where its datagram ends. Segments need no end.
local function split(tvb, offset)
	local parts, size = {}, nil
	while true do
		local left = tvb:len() - offset
		local t = kind(tvb, offset)
		if not size and (t == FEC_DATA or t == FEC_OOB) then
			local n = tvb(offset + 6, 2):le_uint() + 6
			if n > FEC_HEADER and follows(tvb, offset + n) then size = n end
		end
		if not size or left <= size then
			table.insert(parts, left > 0 and offset > 0 and tvb(offset, left):tvb() or tvb)
			return parts
		end
		table.insert(parts, tvb(offset, size):tvb())
		offset = offset + size
	end
end

-- open_first opens the first datagram of a packet, see kcp_aes.lua. It is nil without keys.
local open_first

-- decrypted opens the datagrams of a packet. It returns a list of their Tvbs, with the offsets of the
-- payloads, and how many bytes at the end no key has opened. It returns nil if the first one cannot be
-- opened.
local function decrypted(tvb)
	if not open_first then return nil end
	local packet, parts = tvb():raw(), {}
	while #packet > 0 do
		local size, plain, offset = open_first(packet)
		if not size then break end
		table.insert(parts, { tvb = ByteArray.new(plain, true):tvb("Decrypted KCP"), offset = offset })
		packet = packet:sub(size + 1)
	end
	if #parts == 0 then return nil end
	parts.closed = #packet
	return parts
end

-- datagrams shows what is in a packet from an offset on.
local function datagrams(tvb, offset, tree)
	local texts = {}
	for _, part in ipairs(split(tvb, offset)) do
		local at = part == tvb and offset or 0
		local t = kind(part, at)
		table.insert(texts, t and fec(part, at, t, tree) or segments(part, at, tree))
	end
	return table.concat(texts, " | ")
end

-- show_decrypted shows the datagrams that decrypted returns.
local function show_decrypted(parts, tvb, tree)
	local texts = {}
	tree:append_text(" (decrypted)")
	for _, part in ipairs(parts) do
		if part.offset > 0 then
			tree:add(f.nonce, part.tvb(0, 16))
			tree:add_le(f.crc, part.tvb(16, 4))
		end
		table.insert(texts, datagrams(part.tvb, part.offset, tree))
	end
	if parts.closed > 0 then
		tree:add(tvb(tvb:len() - parts.closed), "Rest of the packet"):add_proto_expert_info(e.closed)
		table.insert(texts, "[no key opens it]")
	end
	return table.concat(texts, " | ")
end

-- show shows a packet. parts are its decrypted datagrams, nil if no key opens it.
local function show(tvb, parts, pinfo, root)
	pinfo.cols.protocol = "KCP"
	local tree = root:add(kcp, tvb())
	local header = kcp.prefs.crypto == CRYPTO_HEADER and CRYPTO_HEADER or 0
	local text
	if parts then
		text = show_decrypted(parts, tvb, tree)
	elseif open_first and not plausible(tvb, 0) then
		tree:add_proto_expert_info(e.closed)
		text = "[no key opens it]"
	elseif tvb:len() < header then
		tree:add_proto_expert_info(e.short)
		text = "[shorter than the crypto header]"
	else
		if header > 0 then
			tree:add(f.nonce, tvb(0, 16))
			tree:add_le(f.crc, tvb(16, 4))
		end
		text = datagrams(tvb, header, tree)
	end
	pinfo.cols.info = text
	tree:append_text(", " .. text)
	return tvb:len()
end

function kcp.dissector(tvb, pinfo, root)
	if tvb:len() == 0 then return 0 end
	return show(tvb, decrypted(tvb), pinfo, root)
end

kcp:register_heuristic("udp", function(tvb, pinfo, root)
	if not kcp.prefs.heuristic or tvb:len() == 0 then return false end
	local parts = decrypted(tvb)
	if not parts and not plausible(tvb, kcp.prefs.crypto == CRYPTO_HEADER and CRYPTO_HEADER or 0) then return false end
	pinfo.conversation = kcp -- parity and malformed packets follow
	show(tvb, parts, pinfo, root)
	return true
end)

local folder = (__DIR__ or "") ~= "" and __DIR__ .. "/" or "" -- of this file

-- binary returns the bytes of a key in hexadecimal, nil if it is none of AES.
local function binary(key)
	local size = #key / 2
	if key:find("%X") or size ~= 16 and size ~= 24 and size ~= 32 then return nil end
	return (key:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end))
end

-- key_log adds the keys in a file to a list.
local function key_log(name, keys)
	local file = io.open(name)
	if not file then
		report_failure("KCP: the key log " .. name .. " cannot be read")
		return
	end
	for line in file:lines() do
		local mode, key = line:match("^%s*KCP_PSK%s+aes%-%d+(%S*)%s+(%x+)")
		mode = ({ [""] = "cfb", ["-gcm"] = "gcm" })[mode]
		key = key and binary(key)
		if mode and key then table.insert(keys, { mode = mode, key = key }) end
	end
	file:close()
end

-- read_keys takes the keys from the preferences.
local function read_keys()
	local keys = {}
	local mode = ({ [AES_CFB] = "cfb", [AES_GCM] = "gcm" })[kcp.prefs.crypto]
	if mode and kcp.prefs.key ~= "" then
		local key = binary(kcp.prefs.key)
		if key then
			table.insert(keys, { mode = mode, key = key })
		else
			report_failure("KCP: the key is not 16, 24 or 32 bytes in hexadecimal")
		end
	end
	if kcp.prefs.keylog ~= "" then key_log(kcp.prefs.keylog, keys) end
	open_first = #keys > 0 and dofile(folder .. "kcp_aes.lua").opener(keys) or nil
end

local udp_ports = DissectorTable.get("udp.port")
local registered, keys = "", ""
function kcp.prefs_changed()
	local now = kcp.prefs.crypto .. " " .. kcp.prefs.key .. " " .. kcp.prefs.keylog
	if keys ~= now then
		keys = now
		read_keys()
	end
	if registered ~= kcp.prefs.ports then
		if registered ~= "" then udp_ports:remove(registered, kcp) end
		registered = kcp.prefs.ports
		if registered ~= "" then udp_ports:add(registered, kcp) end
	end
end
udp_ports:add_for_decode_as(kcp)
