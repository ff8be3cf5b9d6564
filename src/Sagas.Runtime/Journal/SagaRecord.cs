using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>Where a record of a saga lies, and the last history entry it holds.</summary>
[StructLayout(LayoutKind.Sequential)]
readonly record struct RecordPlace(int Segment, int Offset, int Length, int LastSeq)
{
    public const int Bytes = 16;

    public RecordPlace(JournalPosition position, int lastSeq) : this(checked((int)position.Segment), checked((int)position.Offset), position.Length, lastSeq)
    {
    }

    public JournalPosition Position => new(Segment, Offset, Length);
}

enum RecordKind : byte
{
    /// <summary>One version of a saga: its state and the history it adds.</summary>
    Commit = 1,

    /// <summary>History alone, part of a saga too long to be moved in one record; a later record lists it.</summary>
    History = 2,

    /// <summary>In a snapshot: where an unfinished saga's records lie.</summary>
    Open = 3,

    /// <summary>In a snapshot: what the index knows of a finished saga.</summary>
    Finished = 4,

    /// <summary>A definition, as JSON in the place of a state; in a snapshot too.</summary>
    Definition = 5,

    /// <summary>One version of an operation, as JSON in the place of a state; in a snapshot the newest.</summary>
    Operation = 6,

    /// <summary>What an operator did, as JSON in the place of a state; in a snapshot too.</summary>
    Audit = 7,
}

/// <summary>
/// A saga's record. All that the index needs stands before the JSON, so that opening parses none: the fixed head, the packed
/// name (id, tags), the definition's name, the places of earlier records, the state, and history entries each after its length.
/// </summary>
/// <remarks>
/// While a saga is open the store keeps its records' places in memory. The record that ends it, and one that moved it, lists them all
/// (<see cref="Lists"/>): whoever has that one position has the saga. In a snapshot the list ends with the newest record itself.
/// </remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
struct RecordHead
{
    public const byte CurrentFormat = 1;

    public byte Format;
    public RecordKind Kind;
    public byte StatusByte;
    byte _lists;
    public int NameBytes;
    public int DefinitionBytes;
    public int Places;
    public int StateBytes;
    /// <summary>The last history entry, with this record.</summary>
    public int LastSeq;
    public long Version;
    public long StartedAt;
    public long FinishedAt;
    /// <summary>Bytes of history in the records listed.</summary>
    public int HistoryBytes;
    /// <summary>In a snapshot: <see cref="SagaEntry.FirstSegment"/> and <see cref="SagaEntry.LiveBytes"/>.</summary>
    public int FirstSegment, LiveBytes;

    public SagaStatus Status
    {
        readonly get => (SagaStatus)StatusByte;
        set => StatusByte = (byte)value;
    }

    /// <summary>Whether the record lists all that came before it.</summary>
    public bool Lists
    {
        readonly get => _lists != 0;
        set => _lists = value ? (byte)1 : (byte)0;
    }
}

/// <summary>A record's parts, in its bytes.</summary>
readonly ref struct SagaRecord
{
    readonly ReadOnlySpan<byte> _bytes;

    public readonly RecordHead Head;

    SagaRecord(ReadOnlySpan<byte> bytes, RecordHead head)
    {
        _bytes = bytes;
        Head = head;
    }

    int NameAt => Unsafe.SizeOf<RecordHead>();

    int PlacesAt => NameAt + Head.NameBytes + Head.DefinitionBytes;

    int StateAt => PlacesAt + Head.Places * RecordPlace.Bytes;

    public ReadOnlySpan<byte> Name => _bytes.Slice(NameAt, Head.NameBytes);

    public ReadOnlySpan<byte> Id
    {
        get
        {
            var name = Name;
            return SagaEntry.Take(ref name);
        }
    }

    public ReadOnlySpan<byte> Definition => _bytes.Slice(NameAt + Head.NameBytes, Head.DefinitionBytes);

    public ReadOnlySpan<byte> StateJson => _bytes.Slice(StateAt, Head.StateBytes);

    /// <summary>Entries of JSON, each after its length.</summary>
    public ReadOnlySpan<byte> History => _bytes[(StateAt + Head.StateBytes)..];

    /// <summary>Its bytes without places and history.</summary>
    public int Bare => PlacesAt + Head.StateBytes;

    public static SagaRecord Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < Unsafe.SizeOf<RecordHead>()) throw new InvalidDataException($"A record of {bytes.Length} bytes is no saga's. Was the directory written by another program?");
        var head = MemoryMarshal.Read<RecordHead>(bytes);
        if (head.Format != RecordHead.CurrentFormat)
            throw new InvalidDataException($"A record has format {head.Format}; this program reads {RecordHead.CurrentFormat}. Run the version that wrote it.");
        return new SagaRecord(bytes, head);
    }

    public RecordPlace[] Places()
    {
        var places = new RecordPlace[Head.Places];
        MemoryMarshal.Cast<byte, RecordPlace>(_bytes.Slice(PlacesAt, Head.Places * RecordPlace.Bytes)).CopyTo(places);
        return places;
    }

    public SagaState State() => Sagas.StateJson.Read(StateJson);

    /// <summary>Adds the entries above <paramref name="after"/> until the list has so many.</summary>
    public void ReadHistory(List<HistoryEntry> to, int after, int limit)
    {
        for (var rest = History; !rest.IsEmpty && to.Count < limit;)
        {
            var entry = Sagas.StateJson.ReadHistory(NextEntry(ref rest));
            if (entry.Seq > after) to.Add(entry);
        }
    }

    public static ReadOnlySpan<byte> NextEntry(scoped ref ReadOnlySpan<byte> history)
    {
        var length = BinaryPrimitives.ReadInt32LittleEndian(history);
        var entry = history.Slice(4, length);
        history = history[(4 + length)..];
        return entry;
    }
}

/// <summary>Records one behind the other in a pooled buffer, on their way to the journal.</summary>
sealed class RecordBuffer : IBufferWriter<byte>, IDisposable
{
    readonly List<(int Start, int Length)> _records = [];
    byte[] _bytes = ArrayPool<byte>.Shared.Rent(64 << 10);
    int _used, _start;

    public int Bytes => _used;

    public int Count => _records.Count;

    public ReadOnlySpan<byte> BytesOf(int record) => _bytes.AsSpan(_records[record].Start, _records[record].Length);

    public SagaRecord Record(int index) => SagaRecord.Read(BytesOf(index));

    public void WriteCommit(SagaEntry saga, SagaCommit commit, ReadOnlySpan<RecordPlace> places, int historyBytes)
    {
        var (state, history) = commit;
        Begin(new RecordHead
        {
            Kind = RecordKind.Commit,
            Status = state.Status,
            Lists = state.Ended || state.Version == 1,
            LastSeq = history.IsDefaultOrEmpty ? places.IsEmpty ? 0 : places[^1].LastSeq : history[^1].Seq,
            Version = state.Version,
            StartedAt = saga.StartedAt,
            FinishedAt = FinishedAt(state),
            HistoryBytes = state.Ended ? historyBytes : 0,
        }, saga.Name, saga.Definition.Name, state.Ended ? places : []);
        var before = _used;
        Sagas.StateJson.Write(this, state);
        SetStateBytes(_used - before);
        if (!history.IsDefaultOrEmpty)
            foreach (var entry in history)
            {
                var at = _used;
                GetSpan(4);
                _used += 4;
                Sagas.StateJson.Write(this, entry);
                BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(at), _used - at - 4);
            }

        End();
    }

    /// <summary>A record whose JSON is there already.</summary>
    public void Write(in RecordHead head, ReadOnlySpan<byte> name, string definition, ReadOnlySpan<RecordPlace> places, ReadOnlySpan<byte> state, ReadOnlySpan<byte> history)
    {
        Begin(head, name, definition, places);
        SetStateBytes(state.Length);
        Put(state);
        Put(history);
        End();
    }

    public static long FinishedAt(SagaState state) => state.Ended ? (state.FinishedAt ?? state.UpdatedAt).ToUnixTimeMilliseconds() : 0;

    /// <summary>The records from <paramref name="from"/> on that together stay below so many bytes; at least one.</summary>
    public List<ReadOnlyMemory<byte>> Take(int from, int most)
    {
        var batch = new List<ReadOnlyMemory<byte>>(_records.Count - from);
        var bytes = 0;
        for (; from < _records.Count && (batch.Count == 0 || bytes + _records[from].Length <= most); from++)
        {
            var (start, length) = _records[from];
            batch.Add(_bytes.AsMemory(start, length));
            bytes += length + 64;
        }

        return batch;
    }

    public void Advance(int count) => _used += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Room(Math.Max(sizeHint, 256));
        return _bytes.AsMemory(_used);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
    }

    void Begin(RecordHead head, ReadOnlySpan<byte> name, string definition, ReadOnlySpan<RecordPlace> places)
    {
        _start = _used;
        (head.Format, head.NameBytes, head.DefinitionBytes, head.Places) = (RecordHead.CurrentFormat, name.Length, Encoding.UTF8.GetByteCount(definition), places.Length);
        Put(MemoryMarshal.AsBytes(new ReadOnlySpan<RecordHead>(in head)));
        Put(name);
        Room(head.DefinitionBytes);
        _used += Encoding.UTF8.GetBytes(definition, _bytes.AsSpan(_used));
        Put(MemoryMarshal.AsBytes(places));
    }

    void SetStateBytes(int bytes) => MemoryMarshal.AsRef<RecordHead>(_bytes.AsSpan(_start)).StateBytes = bytes;

    void End()
    {
        _records.Add((_start, _used - _start));
        _start = _used;
    }

    void Put(ReadOnlySpan<byte> bytes)
    {
        Room(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_used));
        _used += bytes.Length;
    }

    void Room(int bytes)
    {
        if (_bytes.Length - _used >= bytes) return;
        var bigger = ArrayPool<byte>.Shared.Rent(Math.Max(_used + bytes, _bytes.Length * 2));
        _bytes.AsSpan(0, _used).CopyTo(bigger);
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = bigger;
    }
}
