using System.Buffers.Binary;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Journal;

namespace Sagas.Participants;

/// <summary>Lets participants remember in a file.</summary>
public static class FileBarrierExtensions
{
    /// <summary>
    /// Keeps what was answered in a journal in <paramref name="directory"/>: nothing answered is forgotten by a crash. For one process; the rows within the
    /// retention are in memory too.
    /// </summary>
    /// <param name="builder">The participants.</param>
    /// <param name="directory">A directory of its own, on a local disk.</param>
    public static ParticipantsBuilder UseFileBarrier(this ParticipantsBuilder builder, string directory) => builder.UseBarrier(services =>
        new FileBarrier(directory, builder.Retention, ParticipantsBuilder.Time(services), services.GetRequiredService<ILogger<ParticipantHost>>()));
}

/// <summary>
/// Rows in memory and, before anybody hears of them, in a journal. Whoever writes at the same time shares an fsync. When the journal has grown by as much as
/// the rows themselves take, they are written anew as a snapshot, and what lies before is dropped: rows past their retention are left behind.
/// </summary>
internal sealed class FileBarrier(string directory, TimeSpan retention, TimeProvider time, ILogger logger, JournalOptions? options = null, IJournalFiles? files = null) : IBarrierStore
{
    private readonly MemoryBarrier _rows = new(retention, time);
    private SegmentedJournal? _journal;
    private long _bytesSince, _snapshotBytes;
    private Task _compaction = Task.CompletedTask;

    internal long LeastGrowth { get; init; } = 32 << 20;

    internal int Count => _rows.Count;

    internal Task Compaction => _compaction;

    public ValueTask OpenAsync(CancellationToken cancel)
    {
        var found = new Dictionary<StepKey, BarrierRow>();
        _journal = SegmentedJournal.Open(directory, options ?? new JournalOptions
        {
            SegmentBytes = 16 << 20,
            ReserveBytes = 4 << 20,
            Time = time,
            OnTornTail = tail => BarrierLog.TornTail(logger, tail.File, tail.Offset, tail.Bytes),
            OnWarning = warning => BarrierLog.Warned(logger, warning),
        }, record =>
        {
            var row = BarrierRowFormat.Read(record.Payload.Span);
            found[new StepKey(row.Saga, row.Step)] = row;
            _bytesSince += record.Payload.Length;
        }, files);
        var oldest = time.GetUtcNow() - retention;
        _rows.Load(found.Values.Where(row => !row.IsSettled || row.At > oldest).OrderBy(row => row.At));
        return ValueTask.CompletedTask;
    }

    public ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel) => _rows.FindAsync(saga, step, cancel);

    public async ValueTask WriteAsync(BarrierRow row, CancellationToken cancel)
    {
        var journal = _journal ?? throw new InvalidOperationException("The barrier is not open.");
        var before = await _rows.FindAsync(row.Saga, row.Step, cancel);
        // In memory first, so that a snapshot taken meanwhile has it. Nobody reads it there before it is durable: a step's items take turns.
        await _rows.WriteAsync(row, cancel);
        var bytes = BarrierRowFormat.Write(row);
        try
        {
            await journal.AppendAsync(bytes);
        }
        catch
        {
            _rows.Restore(row, before);
            throw;
        }
        if (Interlocked.Add(ref _bytesSince, bytes.Length) > Math.Max(LeastGrowth, Volatile.Read(ref _snapshotBytes))) StartCompaction(journal);
    }

    public async ValueTask DisposeAsync()
    {
        Task compaction;
        lock (_rows) compaction = _compaction;
        await compaction;
        if (_journal is not null) await _journal.DisposeAsync();
    }

    private void StartCompaction(SegmentedJournal journal)
    {
        lock (_rows)
        {
            if (!_compaction.IsCompleted) return;
            _bytesSince = 0;
            _compaction = time.Run(() => CompactAsync(journal));
        }
    }

    private async Task CompactAsync(SegmentedJournal journal)
    {
        try
        {
            await journal.SnapshotAsync(writer =>
            {
                long size = 0;
                foreach (var row in _rows.Rows)
                {
                    var bytes = BarrierRowFormat.Write(row);
                    writer.Write(bytes);
                    size += bytes.Length;
                }
                Volatile.Write(ref _snapshotBytes, size);
            });
            await journal.DropSegmentsBeforeAsync(long.MaxValue);
        }
        catch (Exception e)
        {
            BarrierLog.CompactionFailed(logger, directory, e);
        }
    }
}

/// <summary>A row as bytes: a version, the small fields, then texts and payloads with their lengths (-1: null).</summary>
internal static class BarrierRowFormat
{
    private const byte Version = 1, None = 0xFF;

    public static byte[] Write(BarrierRow row)
    {
        var size = 6 + 8
            + Size(row.Saga) + Size(row.Step) + Size(row.Command) + Size(row.CommandPayload)
            + Size(row.Result) + Size(row.Code) + Size(row.Message) + Size(row.SecondResult);
        var bytes = new byte[size];
        bytes[0] = Version;
        bytes[1] = (byte)row.Forward;
        bytes[2] = row.IsDo ? (byte)1 : (byte)0;
        bytes[3] = row.InDoubt ? (byte)1 : (byte)0;
        bytes[4] = row.Second is { } second ? (byte)second : None;
        bytes[5] = row.SecondDone ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(6), row.At.UtcTicks);
        var at = bytes.AsSpan(14);
        Put(ref at, row.Saga);
        Put(ref at, row.Step);
        Put(ref at, row.Command);
        Put(ref at, row.CommandPayload);
        Put(ref at, row.Result);
        Put(ref at, row.Code);
        Put(ref at, row.Message);
        Put(ref at, row.SecondResult);
        return bytes;
    }

    public static BarrierRow Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes[0] != Version) throw new InvalidDataException($"A barrier row has version {bytes[0]}; this program reads version {Version}. Run the version that wrote it.");
        var at = bytes[14..];
        return new BarrierRow(Text(ref at)!, Text(ref at)!)
        {
            Forward = (BarrierForward)bytes[1],
            IsDo = bytes[2] == 1,
            InDoubt = bytes[3] == 1,
            Second = bytes[4] == None ? null : (Phase)bytes[4],
            SecondDone = bytes[5] == 1,
            At = new DateTimeOffset(BinaryPrimitives.ReadInt64LittleEndian(bytes[6..]), TimeSpan.Zero),
            Command = Text(ref at),
            CommandPayload = Json(ref at),
            Result = Json(ref at),
            Code = Text(ref at),
            Message = Text(ref at),
            SecondResult = Json(ref at),
        };
    }

    private static int Size(string? text) => 4 + (text is null ? 0 : Encoding.UTF8.GetByteCount(text));

    private static int Size(Payload? payload) => 4 + (payload?.Utf8.Length ?? 0);

    private static void Put(ref Span<byte> to, string? text)
    {
        var length = text is null ? -1 : Encoding.UTF8.GetBytes(text, to[4..]);
        BinaryPrimitives.WriteInt32LittleEndian(to, length);
        to = to[(4 + Math.Max(0, length))..];
    }

    private static void Put(ref Span<byte> to, Payload? payload)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to, payload?.Utf8.Length ?? -1);
        to = to[4..];
        if (payload is null) return;
        payload.Utf8.Span.CopyTo(to);
        to = to[payload.Utf8.Length..];
    }

    private static bool Slice(ref ReadOnlySpan<byte> from, out ReadOnlySpan<byte> slice)
    {
        var length = BinaryPrimitives.ReadInt32LittleEndian(from);
        slice = from.Slice(4, Math.Max(0, length));
        from = from[(4 + slice.Length)..];
        return length >= 0;
    }

    private static string? Text(ref ReadOnlySpan<byte> from) => Slice(ref from, out var text) ? Encoding.UTF8.GetString(text) : null;

    private static Payload? Json(ref ReadOnlySpan<byte> from) => Slice(ref from, out var json) ? new Payload(json.ToArray()) : null;
}

internal static partial class BarrierLog
{
    [LoggerMessage(1, LogLevel.Warning, "The barrier's journal ended in an unfinished write, which was cut off: {File} at {Offset}, {Bytes} bytes. Nothing of it had been answered.")]
    public static partial void TornTail(ILogger logger, string file, long offset, long bytes);

    [LoggerMessage(2, LogLevel.Warning, "The barrier's journal: {Warning}")]
    public static partial void Warned(ILogger logger, string warning);

    [LoggerMessage(3, LogLevel.Error, "The barrier's journal in {Directory} could not be compacted; it goes on growing. Is the disk full?")]
    public static partial void CompactionFailed(ILogger logger, string directory, Exception error);
}
