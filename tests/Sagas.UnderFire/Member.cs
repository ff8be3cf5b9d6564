using Sagas.Tests;

namespace Sagas.UnderFire;

/// <summary>One of our processes: killed, stopped, and started again as what it was.</summary>
internal sealed class Member(string name, params string[] arguments) : IAsyncDisposable
{
    private readonly SemaphoreSlim _turn = new(1);
    private volatile ServerProcess? _process;
    private volatile bool _isMeant;

    public string Name => name;

    /// <summary>Whether it has ended by itself.</summary>
    public bool IsDead => !_isMeant && _process is { } process && !IsRunning(process.Pid);

    /// <summary>Starts it, and again until it is ready.</summary>
    public async Task StartAsync(CancellationToken cancel)
    {
        await _turn.WaitAsync(cancel);
        try
        {
            for (var attempt = 1; _process is null; attempt++)
            {
                try
                {
                    _process = await ServerProcess.StartAsync("dotnet", [typeof(Member).Assembly.Location, .. arguments], "ready");
                }
                catch (InvalidOperationException) when (attempt < 10)
                {
                    // Redis was away for longer than a starting node waits for it, or the port not free yet.
                    await Task.Delay(500, cancel);
                }
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>kill -9.</summary>
    public async Task KillAsync()
    {
        await _turn.WaitAsync();
        try
        {
            if (_process is null) return;
            _isMeant = true;
            _process.Signal("KILL");
            await _process.DisposeAsync();
            _process = null;
            _isMeant = false;
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Signal(string signal) => _process?.Signal(signal);

    public async ValueTask DisposeAsync() => await KillAsync();

    // A dead child of the shell that guards it stays as a zombie.
    private static bool IsRunning(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[stat.LastIndexOf(')') + 2] != 'Z';
        }
        catch (IOException)
        {
            return false;
        }
    }
}
