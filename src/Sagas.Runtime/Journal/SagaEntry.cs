using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Numerics;
using System.Text;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>
/// What the index knows of one saga: some 100 bytes beside its name. There may be a million, so id and tags are one
/// array, and what a file's position needs is packed.
/// </summary>
sealed class SagaEntry
{
    /// <summary>The length of the id, the id, and then each tag's key and value, each after its length.</summary>
    readonly byte[] _name;

    public SagaEntry(byte[] name, long startedAt, IndexedDefinition definition)
    {
        (_name, StartedAt, Definition) = (name, startedAt, definition);
    }

    public SagaEntry(SagaState saga, IndexedDefinition definition)
        : this(Pack(saga.Id.Value, saga.Tags), saga.StartedAt.ToUnixTimeMilliseconds(), definition)
    {
    }

    /// <summary>A saga that is not there, to look for its neighbours.</summary>
    public static SagaEntry Probe(string id, long startedAt = 0) => new(Pack(id, ImmutableSortedDictionary<string, string>.Empty), startedAt, null!);

    public IndexedDefinition Definition { get; set; }

    /// <summary>Unix milliseconds; the first sort key of every listing.</summary>
    public long StartedAt { get; }

    /// <summary>The saga itself, shared with the engine; null: it has ended and is read back from the file.</summary>
    public SagaState? State;

    /// <summary>Unix milliseconds; 0: not finished.</summary>
    public long FinishedAt;

    /// <summary>Where its newest record lies.</summary>
    public int Segment, Offset, Length;

    /// <summary>The oldest segment that holds something of it.</summary>
    public int FirstSegment;

    /// <summary>What writing its state and history once more would take.</summary>
    public int LiveBytes;

    /// <summary>As shown.</summary>
    public SagaStatus Status;

    public JournalPosition Position => new(Segment, Offset, Length);

    public void Place(in RecordPlace place) => (Segment, Offset, Length) = (place.Segment, place.Offset, place.Length);

    public ReadOnlySpan<byte> Name => _name;

    public ReadOnlySpan<byte> Id
    {
        get
        {
            var rest = Name;
            return Take(ref rest);
        }
    }

    public ReadOnlySpan<byte> Tags
    {
        get
        {
            var rest = Name;
            Take(ref rest);
            return rest;
        }
    }

    /// <summary>The id's first eight bytes as a number that sorts like them.</summary>
    public ulong IdKey => KeyOf(Id);

    public static ulong KeyOf(ReadOnlySpan<byte> id)
    {
        if (id.Length >= 8) return BinaryPrimitives.ReadUInt64BigEndian(id);
        ulong key = 0;
        for (var i = 0; i < id.Length; i++) key |= (ulong)id[i] << (56 - 8 * i);
        return key;
    }

    /// <summary>What a tag's value is filed under. Two values may share a key: whoever looks there checks the value.</summary>
    public static ulong ValueKey(ReadOnlySpan<byte> value)
    {
        uint low = ~0u, high = 0x5A61u;
        for (; value.Length >= 8; value = value[8..])
        {
            var word = BinaryPrimitives.ReadUInt64LittleEndian(value);
            (low, high) = (BitOperations.Crc32C(low, word), BitOperations.Crc32C(high, BitOperations.RotateLeft(word, 29)));
        }

        foreach (var b in value) (low, high) = (BitOperations.Crc32C(low, b), BitOperations.Crc32C(high, (byte)(b ^ 0x5A)));
        return (ulong)high << 32 | low;
    }

    /// <summary>The next text of a packed name.</summary>
    public static ReadOnlySpan<byte> Take(scoped ref ReadOnlySpan<byte> packed)
    {
        int length = 0, shift = 0, at = 0;
        byte b;
        do
        {
            b = packed[at++];
            length |= (b & 127) << shift;
            shift += 7;
        }
        while (b > 127);
        var text = packed.Slice(at, length);
        packed = packed[(at + length)..];
        return text;
    }

    public static byte[] Pack(string id, ImmutableSortedDictionary<string, string> tags)
    {
        var size = Size(id);
        foreach (var (key, value) in tags) size += Size(key) + Size(value);
        var name = new byte[size];
        var rest = name.AsSpan();
        Put(ref rest, id);
        foreach (var (key, value) in tags)
        {
            Put(ref rest, key);
            Put(ref rest, value);
        }

        return name;
    }

    static int Size(string text)
    {
        var bytes = Encoding.UTF8.GetByteCount(text);
        var size = bytes + 1;
        for (; bytes > 127; bytes >>= 7) size++;
        return size;
    }

    static void Put(ref Span<byte> to, string text)
    {
        var bytes = Encoding.UTF8.GetByteCount(text);
        var at = 0;
        for (var left = bytes; ; left >>= 7)
        {
            to[at++] = (byte)(left > 127 ? left & 127 | 128 : left);
            if (left <= 127) break;
        }

        Encoding.UTF8.GetBytes(text, to[at..]);
        to = to[(at + bytes)..];
    }
}
