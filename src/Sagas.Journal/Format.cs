using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;

namespace Sagas.Journal;

/// <summary>
/// The bytes on disk, little-endian. A segment is a 64-byte header and frames; a frame is a 32-byte record header and
/// the payload padded to 8 bytes. The header's checksum is seeded with journal, segment and offset, so that bytes which
/// merely look like a record (a payload, a page of another file, a write that went astray) are not taken for one.
/// </summary>
static class Format
{
    public const uint Version = 1;
    public const int SegmentHeaderBytes = 64;
    public const int RecordHeaderBytes = 32;

    public const ulong SegmentMagic = 0x544E_4D47_4553_4A01; // ".JSEGMNT"
    public const ulong SnapshotMagic = 0x544F_4853_504E_4A01; // ".JNPSHOT"

    public static int FrameBytes(int length) => RecordHeaderBytes + ((length + 7) & ~7);

    /// <summary>The same for a length that nobody has checked yet.</summary>
    public static long LongFrameBytes(int length) => RecordHeaderBytes + ((length + 7L) & ~7L);

    public static string SegmentName(long id) => id.ToString("D12", CultureInfo.InvariantCulture) + ".segment";

    public static string SnapshotName(long point) => point.ToString("D12", CultureInfo.InvariantCulture) + ".snapshot";

    /// <summary>The ids of the files with this ending, ascending.</summary>
    public static List<long> Ids(IEnumerable<string> names, string ending) =>
        [.. names.Where(name => name.Length == 12 + ending.Length && name.EndsWith(ending, StringComparison.Ordinal))
            .Select(name => long.TryParse(name.AsSpan(0, 12), NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : 0)
            .Where(id => id > 0).Order()];

    public static uint Crc(ReadOnlySpan<byte> bytes, uint crc = ~0u)
    {
        while (bytes.Length >= 8)
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        foreach (var b in bytes) crc = BitOperations.Crc32C(crc, b);
        return crc;
    }

    public static uint Seed(ulong journal, long segment, long offset) =>
        BitOperations.Crc32C(BitOperations.Crc32C(BitOperations.Crc32C(~0u, journal), (ulong)segment), (ulong)offset);

    public static void WriteSegmentHeader(Span<byte> to, in SegmentHeader header, ulong magic = SegmentMagic)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(to, magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], header.Journal);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], header.Id);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], header.FirstSequence);
        BinaryPrimitives.WriteInt64LittleEndian(to[40..], header.PreviousEnd);
        BinaryPrimitives.WriteInt64LittleEndian(to[48..], header.Capacity);
        BinaryPrimitives.WriteUInt32LittleEndian(to[56..], header.PreviousChain);
        BinaryPrimitives.WriteUInt32LittleEndian(to[60..], Crc(to[..60]));
    }

    /// <summary>Reads a segment's header; null when it is damaged. An intact one of another version throws.</summary>
    public static SegmentHeader? ReadSegmentHeader(string file, ReadOnlySpan<byte> from, ulong magic = SegmentMagic)
    {
        if (from.Length < SegmentHeaderBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(from) != magic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[60..]) != Crc(from[..60])) return null;
        var version = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        if (version != Version) throw new JournalVersionException(file, version);
        return new SegmentHeader(
            BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[40..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[48..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[56..]));
    }

    /// <summary>What is known of a record when it is queued.</summary>
    public static void WriteRecordStart(Span<byte> to, int length, RecordKind kind, bool lastOfCall)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to, length);
        to[4] = (byte)kind;
        to[5] = lastOfCall ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], 0);
    }

    /// <summary>
    /// Completes a record when its place is known and returns the new end of the chain. The payload's checksum is taken
    /// here, of the bytes as they were copied, because the caller's own may change under our hands.
    /// </summary>
    public static uint WriteRecordPlace(Span<byte> frame, uint seed, long sequence, uint chain, long proven)
    {
        BinaryPrimitives.WriteInt64LittleEndian(frame[8..], sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[16..], chain);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[20..], (uint)(proven / 8));
        BinaryPrimitives.WriteUInt32LittleEndian(frame[24..],
            Crc(frame.Slice(RecordHeaderBytes, BinaryPrimitives.ReadInt32LittleEndian(frame))));
        var crc = Crc(frame[..28], seed);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[28..], crc);
        return crc;
    }

    public static bool ReadRecordHeader(ReadOnlySpan<byte> from, uint seed, out RecordHeader header)
    {
        header = default;
        if (from.Length < RecordHeaderBytes || from[4] is 0 or > (byte)RecordKind.Mark) return false;
        var crc = BinaryPrimitives.ReadUInt32LittleEndian(from[28..]);
        if (crc != Crc(from[..28], seed)) return false;
        header = new RecordHeader(
            BinaryPrimitives.ReadInt32LittleEndian(from),
            (RecordKind)from[4],
            from[5] == 1,
            BinaryPrimitives.ReadInt64LittleEndian(from[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[16..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[20..]) * 8L,
            BinaryPrimitives.ReadUInt32LittleEndian(from[24..]),
            crc);
        return true;
    }
}

enum RecordKind : byte
{
    /// <summary>What a caller appended.</summary>
    Data = 1,

    /// <summary>Written by the journal at opening and closing, to prove what lies before it and to carry the epoch.</summary>
    Mark = 2,
}

/// <param name="Journal">Random id of the journal, so that a segment of another one is not taken for its own.</param>
/// <param name="Id">Id of the segment.</param>
/// <param name="FirstSequence">Sequence of its first record.</param>
/// <param name="PreviousEnd">Where the records of the segment before it end: all of them were durable when this was written.</param>
/// <param name="Capacity">Preallocated length, which no crash can shorten; 0 when the file grows.</param>
/// <param name="PreviousChain">Header checksum of the last record before.</param>
readonly record struct SegmentHeader(ulong Journal, long Id, long FirstSequence, long PreviousEnd, long Capacity, uint PreviousChain);

/// <summary>A record's header; everything in the segment below Proven was durable when it was written.</summary>
readonly record struct RecordHeader(
    int Length, RecordKind Kind, bool LastOfCall, long Sequence, uint Previous, long Proven, uint PayloadCrc, uint Crc);
