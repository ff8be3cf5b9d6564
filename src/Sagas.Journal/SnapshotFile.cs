using System.Buffers.Binary;
using System.Numerics;

namespace Sagas.Journal;

/// <summary>Takes the records of a snapshot, in the order in which they are to be replayed.</summary>
public sealed class SnapshotWriter
{
    // Brought to the disk bit by bit: one big fsync at the end would hold up those of the appends.
    const int SyncEvery = 4 << 20;

    readonly IJournalFile file;
    readonly byte[] buffer = new byte[256 << 10];
    long offset, synced;
    int used;
    uint chain;

    /// <summary>How many records were written.</summary>
    public long Count { get; private set; }

    internal SnapshotWriter(IJournalFile file, in SegmentHeader point)
    {
        this.file = file;
        Format.WriteSegmentHeader(buffer, point, Format.SnapshotMagic);
        used = Format.SegmentHeaderBytes;
        chain = Format.Crc(buffer.AsSpan(0, used));
    }

    /// <summary>Adds a record.</summary>
    public void Write(ReadOnlySpan<byte> record)
    {
        chain = SnapshotFile.Chain(chain, record);
        Span<byte> head = stackalloc byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(head, record.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[4..], chain);
        Put(head);
        Put(record);
        Count++;
    }

    internal void Finish()
    {
        Span<byte> foot = stackalloc byte[SnapshotFile.FooterBytes];
        BinaryPrimitives.WriteInt32LittleEndian(foot, -1);
        BinaryPrimitives.WriteUInt32LittleEndian(foot[4..], BitOperations.Crc32C(chain, (ulong)Count));
        BinaryPrimitives.WriteInt64LittleEndian(foot[8..], Count);
        Put(foot);
        Flush();
        file.Sync();
    }

    void Put(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var part = Math.Min(bytes.Length, buffer.Length - used);
            bytes[..part].CopyTo(buffer.AsSpan(used));
            used += part;
            bytes = bytes[part..];
            if (used == buffer.Length) Flush();
        }
    }

    void Flush()
    {
        file.Write(offset, buffer.AsSpan(0, used));
        offset += used;
        used = 0;
        if (offset - synced < SyncEvery) return;
        file.Sync();
        synced = offset;
    }
}

/// <summary>A snapshot's file: the header of the segment replay goes on with, the records, and a footer with their count.</summary>
static class SnapshotFile
{
    public const int FooterBytes = 16;

    public static uint Chain(uint chain, ReadOnlySpan<byte> record) =>
        Format.Crc(record, BitOperations.Crc32C(chain, (uint)record.Length));

    /// <summary>Reads and checks the whole file; throws <see cref="JournalCorruptException"/> when anything is amiss.</summary>
    public static void Read(string path, IJournalFile file, in SegmentHeader point, Action<ReadOnlyMemory<byte>>? each)
    {
        var reader = new Reader(file);
        var head = reader.Take(Format.SegmentHeaderBytes);
        if (head.IsEmpty || Format.ReadSegmentHeader(path, head.Span, Format.SnapshotMagic) is not { } header)
            throw Damaged(path, 0, "the snapshot's header is damaged");
        if (header != point) throw Damaged(path, 0, "the snapshot does not belong to its segment");
        var chain = Format.Crc(head.Span);
        for (long count = 0; ; count++)
        {
            var at = reader.Position;
            head = reader.Take(8);
            if (head.IsEmpty) throw Damaged(path, at, "the snapshot is cut short");
            var length = BinaryPrimitives.ReadInt32LittleEndian(head.Span);
            var crc = BinaryPrimitives.ReadUInt32LittleEndian(head.Span[4..]);
            if (length == -1)
            {
                head = reader.Take(8);
                if (head.IsEmpty || BinaryPrimitives.ReadInt64LittleEndian(head.Span) != count
                    || crc != BitOperations.Crc32C(chain, (ulong)count) || !reader.AtEnd)
                    throw Damaged(path, at, "the snapshot's footer is damaged");
                return;
            }

            if (length < 0 || length > file.Length - reader.Position) throw Damaged(path, at, "a record's length is damaged");
            var record = reader.Take(length);
            chain = Chain(chain, record.Span);
            if (chain != crc) throw Damaged(path, at, "a record is damaged");
            each?.Invoke(record);
        }
    }

    static JournalCorruptException Damaged(string path, long offset, string what) =>
        new(path, offset, what, "Delete the file if an older snapshot, or the whole journal since its beginning, is there.");

    /// <summary>Reads forward through a buffer; what it hands out is good until the next call.</summary>
    sealed class Reader(IJournalFile file)
    {
        readonly long length = file.Length;
        byte[] buffer = new byte[256 << 10];
        int start, end;
        long next;

        public long Position => next - (end - start);

        public bool AtEnd => Position == length;

        public ReadOnlyMemory<byte> Take(int bytes)
        {
            if (bytes > length - Position) return default;
            if (end - start < bytes)
            {
                var rest = buffer.AsSpan(start, end - start);
                var target = buffer.Length >= bytes ? buffer : new byte[bytes];
                rest.CopyTo(target);
                (buffer, start, end) = (target, 0, rest.Length);
                var read = file.Read(next, buffer.AsSpan(end));
                end += read;
                next += read;
                if (end < bytes) return default;
            }

            start += bytes;
            return buffer.AsMemory(start - bytes, bytes);
        }
    }
}
