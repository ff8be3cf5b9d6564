using System.Buffers.Binary;

namespace Sagas.Journal;

/// <summary>
/// Walks the records of one segment and says where they end and why. What follows the end is either zeros, or the
/// remains of the last write, or damage to something durable. A record that states a proven offset beyond the end tells
/// the last two apart: it was written after an fsync of what is now gone.
/// </summary>
/// <param name="End">Where the last complete call ends.</param>
/// <param name="NextSequence">Sequence of the record to come.</param>
/// <param name="Chain">Header checksum of the last record.</param>
/// <param name="Proven">Below this offset everything was known durable.</param>
/// <param name="Epoch">The highest epoch a mark states, or 0.</param>
/// <param name="Records">How many records callers had appended.</param>
/// <param name="GarbageEnd">End of the last byte after <paramref name="End"/> that is not zero, or <paramref name="End"/>.</param>
/// <param name="Damage">What is damaged although it was durable; null when nothing is.</param>
/// <param name="DamageOffset">Where.</param>
readonly record struct SegmentScan(
    long End, long NextSequence, uint Chain, long Proven, long Epoch, long Records, long GarbageEnd, string? Damage, long DamageOffset)
{
    public static SegmentScan Run(ReadOnlyMemory<byte> segment, in SegmentHeader header, Action<JournalRecord>? replay)
    {
        var bytes = segment.Span;
        long offset = Format.SegmentHeaderBytes, call = offset, proven = offset, epoch = 0, records = 0;
        long sequence = header.FirstSequence, callSequence = sequence;
        uint chain = header.PreviousChain, callChain = chain;
        string? stop = null, damage = null;
        while (stop is null && offset + Format.RecordHeaderBytes <= bytes.Length)
        {
            if (!Format.ReadRecordHeader(bytes[(int)offset..], Format.Seed(header.Journal, header.Id, offset), out var record))
                stop = "a record's header is damaged";
            else if (record.Sequence != sequence || record.Previous != chain)
                // An intact header in its own place that does not continue the chain cannot come of a torn write.
                stop = damage = $"record {record.Sequence} does not follow the one before it";
            else if (Payload(bytes, offset, record) is { } what)
                stop = what;
            else
            {
                proven = Math.Max(proven, record.Proven);
                if (record.Kind == RecordKind.Mark && record.Length == 8)
                    epoch = Math.Max(epoch, BinaryPrimitives.ReadInt64LittleEndian(bytes[(int)(offset + Format.RecordHeaderBytes)..]));
                offset += Format.FrameBytes(record.Length);
                sequence++;
                chain = record.Crc;
                if (!record.LastOfCall) continue;
                records += Deliver(segment, header.Id, call, offset, callSequence, replay);
                (call, callSequence, callChain) = (offset, sequence, chain);
            }
        }

        var garbage = call + (bytes[(int)call..].LastIndexOfAnyExcept((byte)0) + 1);
        if (damage is null && garbage > call && HighestProof(bytes, header, offset) is var proof && proof > call)
            damage = $"{stop ?? "a record is cut short"} although everything below offset {proof} had been durable";
        return new SegmentScan(call, callSequence, callChain, proven, epoch, records, garbage, damage, offset);
    }

    static string? Payload(ReadOnlySpan<byte> bytes, long offset, in RecordHeader record)
    {
        var start = offset + Format.RecordHeaderBytes;
        if (record.Length < 0 || record.Length > bytes.Length - start || offset + Format.FrameBytes(record.Length) > bytes.Length)
            return $"record {record.Sequence} reaches past the end of the file";
        var payload = bytes.Slice((int)start, record.Length);
        if (Format.Crc(payload) != record.PayloadCrc) return $"the payload of record {record.Sequence} is damaged";
        var padding = bytes[(int)(start + record.Length)..(int)(offset + Format.FrameBytes(record.Length))];
        return padding.ContainsAnyExcept((byte)0) ? $"the padding of record {record.Sequence} is damaged" : null;
    }

    /// <summary>A call is handed out only once its last record is seen: all of its records or none.</summary>
    static long Deliver(ReadOnlyMemory<byte> segment, long id, long offset, long end, long sequence, Action<JournalRecord>? replay)
    {
        var count = 0;
        for (; offset < end; sequence++)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(segment.Span[(int)offset..]);
            if (segment.Span[(int)offset + 4] == (byte)RecordKind.Data)
            {
                replay?.Invoke(new JournalRecord(new JournalPosition(id, offset, length), sequence,
                    segment.Slice((int)offset + Format.RecordHeaderBytes, length)));
                count++;
            }

            offset += Format.FrameBytes(length);
        }

        return count;
    }

    static long HighestProof(ReadOnlySpan<byte> bytes, in SegmentHeader header, long from)
    {
        long proof = 0;
        for (var offset = from; offset + Format.RecordHeaderBytes <= bytes.Length; offset += 8)
        {
            var kind = bytes[(int)offset + 4];
            if (kind is 1 or 2 && Format.ReadRecordHeader(bytes[(int)offset..], Format.Seed(header.Journal, header.Id, offset), out var record))
                proof = Math.Max(proof, record.Proven);
        }

        return proof;
    }
}
