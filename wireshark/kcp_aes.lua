-- SPDX-License-Identifier: MIT
--
-- AES-CFB and AES-GCM for kcp.lua, which loads this file from its own folder. Wireshark gives Lua no
-- ciphers before version 4.4. It works with Lua 5.1 to 5.4.

-- Bit operations: of Lua 5.2, of the library in Wireshark, or the operators of Lua 5.3 and later.
-- They are called with numbers from 0 to 2^32 - 1, and the results are taken modulo 2^32.
local band, bxor, rshift, lshift
local bits = bit32 or bit
if bits then
	band, bxor, rshift, lshift = bits.band, bits.bxor, bits.rshift, bits.lshift
else
	band, bxor, rshift, lshift = assert(load([[
		return function(a, b) return a & b end,
			function(a, b, ...)
				local x = a ~ b
				for i = 1, select("#", ...) do x = x ~ (select(i, ...)) end
				return x
			end,
			function(a, n) return a >> n end,
			function(a, n) return a << n & 0xFFFFFFFF end]]))()
end
local byte, char, floor = string.byte, string.char, math.floor

-- word returns four bytes as a number, the first one the highest.
local function word(a, b, c, d) return ((a * 256 + b) * 256 + c) * 256 + d end

-- bytes_of returns the four bytes of a number.
local function bytes_of(w)
	return char(band(rshift(w, 24), 255), band(rshift(w, 16), 255), band(rshift(w, 8), 255), band(w, 255))
end

-- T1 to T4 are a round's substitution, shift and mix for one byte of a column; S is the substitution.
local S, T1, T2, T3, T4 = {}, {}, {}, {}, {}
do
	local function double(x)
		x = x * 2
		return x > 255 and bxor(x, 0x11B) or x
	end
	local power, log, x = {}, {}, 1
	for i = 0, 254 do
		power[i], log[x] = x, i
		x = bxor(x, double(x)) -- times 3, a generator of the field
	end
	for i = 0, 255 do
		local inverse = i == 0 and 0 or power[(255 - log[i]) % 255]
		local s = 0x63
		for _ = 0, 4 do
			s = bxor(s, inverse)
			inverse = inverse * 2 % 256 + floor(inverse / 128)
		end
		S[i] = s
		local s2 = double(s)
		local s3 = bxor(s2, s)
		T1[i], T2[i], T3[i], T4[i] = word(s2, s, s, s3), word(s3, s2, s, s), word(s, s3, s2, s), word(s, s, s3, s2)
	end
end

local function substitute(w)
	return word(S[band(rshift(w, 24), 255)], S[band(rshift(w, 16), 255)], S[band(rshift(w, 8), 255)], S[band(w, 255)])
end

-- schedule returns the round keys of a key, as words from 1 on, and the number of rounds.
local function schedule(key)
	local n = #key / 4
	local rounds, w, constant = n + 6, {}, 1
	for i = 1, n do w[i] = word(byte(key, 4 * i - 3, 4 * i)) end
	for i = n + 1, 4 * (rounds + 1) do
		local t = w[i - 1]
		if (i - 1) % n == 0 then
			t = substitute(t % 0x1000000 * 256 + floor(t % 0x100000000 / 0x1000000))
			t = bxor(t, constant * 0x1000000)
			constant = constant * 2
			if constant > 255 then constant = bxor(constant, 0x11B) end
		elseif n > 6 and (i - 1) % n == 4 then
			t = substitute(t)
		end
		w[i] = bxor(w[i - n], t)
	end
	return w, rounds
end

-- encrypter returns a function that encrypts a block of four words.
local function encrypter(key)
	local w, rounds = schedule(key)
	local last = 4 * rounds
	return function(a, b, c, d)
		a, b, c, d = bxor(a, w[1]), bxor(b, w[2]), bxor(c, w[3]), bxor(d, w[4])
		for i = 5, last - 3, 4 do
			a, b, c, d =
				bxor(T1[band(rshift(a, 24), 255)], T2[band(rshift(b, 16), 255)], T3[band(rshift(c, 8), 255)], T4[band(d, 255)], w[i]),
				bxor(T1[band(rshift(b, 24), 255)], T2[band(rshift(c, 16), 255)], T3[band(rshift(d, 8), 255)], T4[band(a, 255)], w[i + 1]),
				bxor(T1[band(rshift(c, 24), 255)], T2[band(rshift(d, 16), 255)], T3[band(rshift(a, 8), 255)], T4[band(b, 255)], w[i + 2]),
				bxor(T1[band(rshift(d, 24), 255)], T2[band(rshift(a, 16), 255)], T3[band(rshift(b, 8), 255)], T4[band(c, 255)], w[i + 3])
		end
		local function final(p, q, r, s, k)
			return bxor(word(S[band(rshift(p, 24), 255)], S[band(rshift(q, 16), 255)], S[band(rshift(r, 8), 255)], S[band(s, 255)]), k)
		end
		return final(a, b, c, d, w[last + 1]), final(b, c, d, a, w[last + 2]), final(c, d, a, b, w[last + 3]), final(d, a, b, c, w[last + 4])
	end
end

-- block returns the four words of a block in a text, padded with zeros behind its end.
local function block(text, at)
	local p = { byte(text, at, at + 15) }
	for i = #p + 1, 16 do p[i] = 0 end
	return word(p[1], p[2], p[3], p[4]), word(p[5], p[6], p[7], p[8]), word(p[9], p[10], p[11], p[12]), word(p[13], p[14], p[15], p[16])
end

local crc_table = {}
for i = 0, 255 do
	local c = i
	for _ = 1, 8 do
		local low = c % 2
		c = (c - low) / 2
		if low == 1 then c = bxor(c, 0xEDB88320) % 0x100000000 end
	end
	crc_table[i] = c
end

local function crc32(text, from)
	local c = 0xFFFFFFFF
	for i = from, #text do
		c = bxor(crc_table[band(bxor(c, byte(text, i)), 255)], rshift(c, 8))
	end
	return bxor(c, 0xFFFFFFFF) % 0x100000000
end

local aes = {}

-- cfb returns a function that opens packets in AES-CFB with the library's initial vector (S3.2). It
-- returns the nonce, checksum and payload of a packet, or nil if the checksum is wrong.
function aes.cfb(key)
	local encrypt = encrypter(key)
	local iv = { encrypt(0xA7734F9C, 0x12AC1B01, 0xA415F2C1, 0xFC78E66B) }
	return function(packet)
		if #packet < 21 then return nil end
		local a, b, c, d = iv[1], iv[2], iv[3], iv[4]
		local out = {}
		for at = 1, #packet, 16 do
			local p, q, r, s = block(packet, at)
			out[#out + 1] = bytes_of(bxor(a, p)) .. bytes_of(bxor(b, q)) .. bytes_of(bxor(c, r)) .. bytes_of(bxor(d, s))
			a, b, c, d = encrypt(p, q, r, s)
		end
		local plain = table.concat(out):sub(1, #packet)
		local c1, c2, c3, c4 = byte(plain, 17, 20)
		if crc32(plain, 21) ~= word(c4, c3, c2, c1) then return nil end
		return plain
	end
end

-- multiplier returns a function that multiplies a block by h in the field of GCM: for each byte of
-- the block it has a table of 256 products.
local function multiplier(h1, h2, h3, h4)
	local tables = {}
	for i = 1, 16 do
		local t = { [0] = { 0, 0, 0, 0 } }
		for bit = 7, 0, -1 do
			t[2 ^ bit] = { h1, h2, h3, h4 }
			local carry = h4 % 2
			h4 = bxor(rshift(h4, 1), lshift(h3, 31)) % 0x100000000
			h3 = bxor(rshift(h3, 1), lshift(h2, 31)) % 0x100000000
			h2 = bxor(rshift(h2, 1), lshift(h1, 31)) % 0x100000000
			h1 = bxor(rshift(h1, 1), carry * 0xE1000000) % 0x100000000
		end
		for x = 1, 255 do
			local high = 128
			while high > x do high = high / 2 end
			if high < x then
				local p, q = t[high], t[x - high]
				t[x] = { bxor(p[1], q[1]), bxor(p[2], q[2]), bxor(p[3], q[3]), bxor(p[4], q[4]) }
			end
		end
		tables[i] = t
	end
	return function(a, b, c, d)
		local w, x, y, z = 0, 0, 0, 0
		local words = { a, b, c, d }
		for i = 0, 15 do
			local p = tables[i + 1][band(rshift(words[floor(i / 4) + 1], 24 - i % 4 * 8), 255)]
			w, x, y, z = bxor(w, p[1]), bxor(x, p[2]), bxor(y, p[3]), bxor(z, p[4])
		end
		return w, x, y, z
	end
end

-- gcm returns a function that opens packets of AES-GCM (S3.5). It returns the payload, or nil if the
-- tag is wrong.
function aes.gcm(key)
	local encrypt = encrypter(key)
	local times = multiplier(encrypt(0, 0, 0, 0))
	return function(packet)
		local size = #packet - 28
		if size < 1 then return nil end
		local n1, n2, n3 = block(packet, 1)
		local cipher = packet:sub(13, 12 + size)
		local w, x, y, z = 0, 0, 0, 0
		local out, count = {}, 2
		for at = 1, size, 16 do
			local p, q, r, s = block(cipher, at)
			w, x, y, z = times(bxor(w, p), bxor(x, q), bxor(y, r), bxor(z, s))
			local a, b, c, d = encrypt(n1, n2, n3, count)
			out[#out + 1] = bytes_of(bxor(a, p)) .. bytes_of(bxor(b, q)) .. bytes_of(bxor(c, r)) .. bytes_of(bxor(d, s))
			count = count + 1
		end
		w, x, y, z = times(w, x, y, bxor(z, size * 8))
		local a, b, c, d = encrypt(n1, n2, n3, 1)
		local tag = bytes_of(bxor(a, w)) .. bytes_of(bxor(b, x)) .. bytes_of(bxor(c, y)) .. bytes_of(bxor(d, z))
		if tag ~= packet:sub(-16) then return nil end
		return table.concat(out):sub(1, size)
	end
end

-- Linux hands several datagrams of one size to the network card as one packet, which the card cuts.
-- A capture on the sending machine has them together. The sizes of the newest ones that were opened
-- are tried there.
local SIZES_MOST, SIZE_LEAST = 6, 200

-- newest moves the entry i of a list to the front, or puts a value there if i is nil.
local function newest(list, i, value)
	if i then value = table.remove(list, i) end
	table.insert(list, 1, value)
end

local function learn(sizes, size)
	if size < SIZE_LEAST then return end
	for i, known in ipairs(sizes) do
		if known == size then return newest(sizes, i) end
	end
	newest(sizes, nil, size)
	sizes[SIZES_MOST + 1] = nil
end

-- opener returns a function that opens the first datagram of a packet with one of several keys. It
-- returns the size of the datagram, its decrypted form, and the offset of the payload in that; or nil.
function aes.opener(keys)
	local ways, sizes = {}, {}
	for _, k in ipairs(keys) do
		table.insert(ways, { open = aes[k.mode](k.key), offset = k.mode == "cfb" and 20 or 0 })
	end
	local function open(packet)
		for i, way in ipairs(ways) do
			local plain = way.open(packet)
			if plain then
				newest(ways, i)
				learn(sizes, #packet)
				return #packet, plain, way.offset
			end
		end
		return nil
	end
	return function(packet)
		local size, plain, offset = open(packet)
		for i = 1, #sizes do
			if size then break end
			if sizes[i] < #packet then size, plain, offset = open(packet:sub(1, sizes[i])) end
		end
		return size, plain, offset
	end
end

return aes
