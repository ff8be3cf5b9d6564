using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Trip;

/// <summary>One effect, as a line of a participant's file.</summary>
/// <param name="Key">The command's key: it makes a repeat find what was done.</param>
/// <param name="What">What was done: held, confirmed, released, captured, sent.</param>
/// <param name="Id">What it was done to.</param>
/// <param name="Saga">For whom.</param>
/// <param name="Item">Which flight, city, card or address.</param>
/// <param name="Amount">The price.</param>
/// <param name="At">When.</param>
public sealed record Line(string Key, string What, string Id, string Saga, string Item, decimal Amount, DateTimeOffset At);

/// <summary>Where the participants keep their files.</summary>
public sealed record DataFolder(string Path)
{
    public string Of(string participant) => System.IO.Path.Combine(Path, participant + ".jsonl");
}

/// <summary>
/// A participant's own store, as small as can be: one JSON line for each effect, on disk before the participant answers. It stands for your database:
/// what matters is that the effect and the command's key are written together, so that a command that comes again changes nothing.
/// </summary>
public sealed class Ledger
{
    private readonly FileStream _file;
    private readonly Dictionary<string, Line> _byKey = [];
    private readonly Dictionary<string, Line> _holds = [];
    private readonly Dictionary<string, int> _taken = [];
    private readonly StringBuilder _unwritten = new();
    private Task _written = Task.CompletedTask;
    private bool _isWriteDue;

    public Ledger(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var lines = Read(path, out var whole);
        foreach (var line in lines) Apply(line);
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
        _file.SetLength(whole);
        _file.Seek(0, SeekOrigin.End);
    }

    /// <summary>
    /// Does what <paramref name="effect"/> says unless the key's effect is there already; either way the line is on disk when this returns. The effect is
    /// decided under a lock, and one that throws leaves no trace.
    /// </summary>
    public async Task<Line> OnceAsync(string key, Func<Line> effect)
    {
        Line? line;
        Task written;
        lock (_byKey)
        {
            if (!_byKey.TryGetValue(key, out line))
            {
                Apply(line = effect());
                _unwritten.Append(JsonSerializer.Serialize(line, JsonSerializerOptions.Web)).Append('\n');
                if (!_isWriteDue) _written = WriteAsync(after: _written);
                _isWriteDue = true;
            }
            written = _written;
        }
        await written;
        return line;
    }

    /// <summary>The hold of that id, whatever became of it; null: there never was one. To be called within an effect.</summary>
    public Line? FindHold(string id) => _holds.GetValueOrDefault(id);

    /// <summary>How many of an item are held or confirmed. To be called within an effect.</summary>
    public int Taken(string item) => _taken.GetValueOrDefault(item);

    /// <summary>The whole lines of a file. A last line that a crash tore was never answered for, so it does not count.</summary>
    public static IReadOnlyList<Line> Read(string path, out long whole)
    {
        whole = 0;
        if (!File.Exists(path)) return [];
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var lines = new List<Line>();
        for (int start = 0, length; (length = bytes.AsSpan(start).IndexOf((byte)'\n')) >= 0; start += length + 1)
        {
            try
            {
                lines.Add(JsonSerializer.Deserialize<Line>(bytes.AsSpan(start, length), JsonSerializerOptions.Web)!);
            }
            catch (JsonException e)
            {
                throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"{path}, line {lines.Count + 1}, is no effect: {e.Message}"), e);
            }
            whole = start + length + 1;
        }
        return lines;
    }

    private void Apply(Line line)
    {
        _byKey[line.Key] = line;
        if (line.What == "held") _holds[line.Id] = line;
        if (line.What == "held") _taken[line.Item] = Taken(line.Item) + 1;
        else if (line.What == "released") _taken[line.Item] = Taken(line.Item) - 1;
    }

    // Lines that come while the disk is busy go together in the next write. A write that fails fails all after it: nothing is answered that is not on disk.
    private async Task WriteAsync(Task after)
    {
        await Task.Yield();
        await after;
        byte[] lines;
        lock (_byKey)
        {
            lines = Encoding.UTF8.GetBytes(_unwritten.ToString());
            _unwritten.Clear();
            _isWriteDue = false;
        }
        await _file.WriteAsync(lines);
        _file.Flush(flushToDisk: true);
    }
}
