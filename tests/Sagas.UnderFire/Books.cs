using System.IO.MemoryMappedFiles;
using System.Text.Json;
using Sagas.Participants;

namespace Sagas.UnderFire;

/// <summary>One effect, a line of a participant's books.</summary>
/// <param name="At">When, in microseconds since 1970; one clock for all processes of a machine.</param>
/// <param name="Saga">Whose.</param>
/// <param name="Step">At which step.</param>
/// <param name="Phase">The wire's word for what was asked.</param>
/// <param name="Account">The account.</param>
/// <param name="Amount">How much.</param>
internal sealed record Entry(long At, string Saga, string Step, string Phase, string Account, int Amount)
{
    public static long Now => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    public static Entry Parse(string line) => JsonSerializer.Deserialize<Entry>(line, JsonSerializerOptions.Web)!;

    public override string ToString() => JsonSerializer.Serialize(this, JsonSerializerOptions.Web);
}

/// <summary>
/// Books in a file, every line on disk before it is answered for. They know a key that is there already, as handlers owe it for the moment between an effect and
/// the barrier's note, and nothing else: what comes too late or out of order they would carry out.
/// </summary>
internal sealed class FileBooks : IDisposable
{
    private readonly Lock _lock = new();
    private readonly string _path;
    private readonly Dictionary<(string Saga, string Step, string Phase), Entry> _entries = [];
    private FileStream? _file;
    private Action<Entry> _apply = null!;

    public FileBooks(string path) => _path = path;

    /// <summary>Tells every entry that there is, and from now on each new one.</summary>
    public void Open(Action<Entry> apply)
    {
        _apply = apply;
        var entries = Read(_path, out var whole);
        foreach (var entry in entries) Apply(entry);
        _file = new FileStream(_path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
        _file.SetLength(whole);
        _file.Seek(0, SeekOrigin.End);
    }

    /// <summary>The books as they are on disk. A line that kill -9 cut short was not answered for.</summary>
    public static IReadOnlyList<Entry> Read(string path, out long whole)
    {
        var text = File.Exists(path) ? File.ReadAllText(path) : "";
        text = text[..(text.LastIndexOf('\n') + 1)];
        whole = System.Text.Encoding.UTF8.GetByteCount(text);
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Entry.Parse)];
    }

    /// <summary>The entry of this saga's step in that phase; to be called within an effect.</summary>
    public Entry? Find(CommandContext context, Phase phase) => _entries.GetValueOrDefault((context.Saga, context.Step, phase.Word()));

    /// <summary>Brings an effect about unless its key is there. One that throws leaves nothing. False: it was there.</summary>
    public Task<bool> OnceAsync(CommandContext context, Func<(string Account, int Amount)> effect)
    {
        lock (_lock)
        {
            if (Find(context, context.Phase) is not null) return Task.FromResult(false);
            var (account, amount) = effect();
            var entry = new Entry(Entry.Now, context.Saga, context.Step, context.Phase.Word(), account, amount);
            _file!.Write([.. JsonSerializer.SerializeToUtf8Bytes(entry, JsonSerializerOptions.Web), (byte)'\n']);
            _file.Flush(flushToDisk: true);
            Apply(entry);
            return Task.FromResult(true);
        }
    }

    public void Dispose() => _file?.Dispose();

    private void Apply(Entry entry)
    {
        _entries.Add((entry.Saga, entry.Step, entry.Phase), entry);
        _apply(entry);
    }
}

/// <summary>Counters in a file that is mapped into memory: kill -9 takes nothing from them.</summary>
internal sealed class Tally : IDisposable
{
    private readonly Lock _lock = new();
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    public Tally(string path) => _view = (_file = MemoryMappedFile.CreateFromFile(path, FileMode.OpenOrCreate, null, 64)).CreateViewAccessor();

    public long this[Count what] => _view.ReadInt64((int)what * sizeof(long));

    public void Add(Count what)
    {
        lock (_lock) _view.Write((int)what * sizeof(long), this[what] + 1);
    }

    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }
}

/// <summary>What a participant counts.</summary>
internal enum Count
{
    /// <summary>Commands answered with ok or refused.</summary>
    Answered,
    /// <summary>Of those, the ones that reached the handler; the others the barrier answered alone.</summary>
    Handled,
    /// <summary>Handler's calls whose key was in the books already.</summary>
    Recognised,
    /// <summary>Calls that failed, half of them after their effect.</summary>
    Failed,
    /// <summary>Calls that took longer than the engine waits.</summary>
    Slow,
    /// <summary>Times that the process killed itself between an effect and the barrier's note of it.</summary>
    Crashed,
}
