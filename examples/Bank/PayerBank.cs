using System.Text.Json;
using Sagas;
using Sagas.Participants;

namespace Bank;

public record Withdraw(string Account, decimal Amount) : ITryCommand<Withdraw, Hold>;
public record Hold(string Account, decimal Amount);
public record BookTransfer(string From, string To, decimal Amount) : ICommand<BookTransfer, Booked>;
public record Booked(string Booking);

/// <summary>The payer's bank: holds money, takes or releases it, and books transfers.</summary>
public sealed class PayerBank(Accounts accounts) : ITccHandler<Withdraw, Hold>, IStepHandler<BookTransfer, Booked>
{
    public async Task<Hold> TryAsync(Withdraw command, CommandContext context, CancellationToken cancel)
    {
        var held = await accounts.OnceAsync(context, "held", () =>
        {
            var free = accounts.FreeIn(command.Account) ?? throw new RefusedException("no-such-account", $"There is no account {command.Account}.");
            if (free < command.Amount) throw new RefusedException("no-money", $"Account {command.Account} has {free}, which is less than {command.Amount}.");
            return (command.Account, command.Amount);
        });
        return new Hold(held.Account, held.Amount);
    }

    public Task ConfirmAsync(Withdraw command, Hold? reservation, CommandContext context, CancellationToken cancel) =>
        accounts.OnceAsync(context, "withdrawn", () => (command.Account, command.Amount));

    // The try's answer may have been lost, and the try with it: nothing is released that is not held.
    public Task CancelAsync(Withdraw command, Hold? reservation, CommandContext context, CancellationToken cancel) =>
        accounts.OnceAsync(context, "released", () => (command.Account, accounts.IsHeld(context) ? command.Amount : 0));

    public async Task<Booked> HandleAsync(BookTransfer command, CommandContext context, CancellationToken cancel)
    {
        await accounts.OnceAsync(context, "booked", () => command.Amount == 13
            ? throw new RefusedException("unlucky", "Nobody books 13 here.")
            : (command.From, command.Amount));
        return new Booked($"booking:{context.Saga}");
    }
}

/// <summary>An effect on an account, a line of the bank's file.</summary>
public sealed record Entry(string What, string Saga, string Step, string Account, decimal Amount);

/// <summary>The bank's accounts in a file of JSON lines, each on disk before it is answered for: what a database would be to you.</summary>
public sealed class Accounts : IDisposable
{
    private readonly Lock _lock = new();
    private readonly FileStream _file;
    private readonly Dictionary<(string What, string Saga, string Step), Entry> _entries = [];
    private readonly Dictionary<string, decimal> _free = [];
    private readonly MemoryStream _unwritten = new();
    private Task _written = Task.CompletedTask;
    private bool _isWriteDue;

    public Accounts(string path)
    {
        var entries = Lines.Read<Entry>(path, out var whole);
        entries.ForEach(Apply);
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
        _file.SetLength(whole);
        _file.Seek(0, SeekOrigin.End);
    }

    /// <summary>Opens an account unless it is open.</summary>
    public Task OpenAsync(string account, decimal amount) => OnceAsync("opened", "opening", account, () => (account, amount));

    /// <summary>What can be taken; null: no such account. To be called within an effect.</summary>
    public decimal? FreeIn(string account) => _free.TryGetValue(account, out var free) ? free : null;

    /// <summary>Whether this saga's step holds money. To be called within an effect.</summary>
    public bool IsHeld(CommandContext context) => _entries.ContainsKey(("held", context.Saga, context.Step));

    /// <summary>Brings the effect about unless it is there; either way it is on disk when this returns. An effect that throws leaves no trace.</summary>
    public Task<Entry> OnceAsync(CommandContext context, string what, Func<(string Account, decimal Amount)> effect) => OnceAsync(what, context.Saga, context.Step, effect);

    private async Task<Entry> OnceAsync(string what, string saga, string step, Func<(string Account, decimal Amount)> effect)
    {
        Entry? entry;
        Task written;
        lock (_lock)
        {
            if (!_entries.TryGetValue((what, saga, step), out entry))
            {
                var (account, amount) = effect();
                Apply(entry = new Entry(what, saga, step, account, amount));
                _unwritten.Write(JsonSerializer.SerializeToUtf8Bytes(entry, JsonSerializerOptions.Web));
                _unwritten.WriteByte((byte)'\n');
                if (!_isWriteDue) _written = WriteAsync(after: _written);
                _isWriteDue = true;
            }
            written = _written;
        }
        await written;
        return entry;
    }

    private void Apply(Entry entry)
    {
        _entries[(entry.What, entry.Saga, entry.Step)] = entry;
        var change = entry.What switch { "opened" or "released" => entry.Amount, "held" => -entry.Amount, _ => 0 };
        _free[entry.Account] = _free.GetValueOrDefault(entry.Account) + change;
    }

    // Lines that come while the disk is busy go together in the next write.
    private async Task WriteAsync(Task after)
    {
        await Task.Yield();
        await after;
        byte[] lines;
        lock (_lock)
        {
            lines = _unwritten.ToArray();
            _unwritten.SetLength(0);
            _isWriteDue = false;
        }
        await _file.WriteAsync(lines);
        _file.Flush(flushToDisk: true);
    }

    public void Dispose() => _file.Dispose();
}

/// <summary>Files of JSON lines.</summary>
public static class Lines
{
    /// <summary>The whole lines. A last one that a crash tore was never answered for, so it does not count.</summary>
    public static List<T> Read<T>(string path, out long whole)
    {
        whole = 0;
        var lines = new List<T>();
        if (!File.Exists(path)) return lines;
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        for (int start = 0, length; (length = bytes.AsSpan(start).IndexOf((byte)'\n')) >= 0; start += length + 1)
        {
            lines.Add(JsonSerializer.Deserialize<T>(bytes.AsSpan(start, length), JsonSerializerOptions.Web)!);
            whole = start + length + 1;
        }
        return lines;
    }
}
