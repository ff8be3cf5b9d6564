using System.Diagnostics;

namespace Sagas.Tests.Redis;

/// <summary>A redis-server of the tests' own, with a directory of its own.</summary>
internal sealed class RedisServer : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("sagas-redis-").FullName;
    private readonly string[] _settings;
    private ServerProcess? _process;

    private RedisServer(int port, string[] settings) => (Port, _settings) = (port, settings);

    public int Port { get; }

    public string Address => $"127.0.0.1:{Port}";

    /// <summary>The server that tests share; each uses a prefix of its own. Every write is synced before it is answered.</summary>
    public static Task<RedisServer> SharedAsync() => Servers.ShareAsync("redis", static () => StartAsync());

    /// <summary>A server for one test to break; dispose it.</summary>
    public static async Task<RedisServer> StartAsync(params string[] settings)
    {
        for (var attempt = 1; ; attempt++)
        {
            var server = new RedisServer(Servers.FreePorts(1)[0], settings);
            try
            {
                await server.BeginAsync();
                return server;
            }
            catch (InvalidOperationException) when (attempt < 3)
            {
                // Somebody took the port meanwhile.
                await server.DisposeAsync();
            }
        }
    }

    /// <summary>Starts it on the data that it left.</summary>
    public Task BeginAsync() => BeginAsync("Ready to accept connections");

    /// <summary>Starts it on the data that it left, of which it reads 5,000 keys a second, and answers LOADING meanwhile.</summary>
    public Task BeginSlowlyAsync() => BeginAsync("Server initialized", "--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024");

    private async Task BeginAsync(string ready, params string[] more)
    {
        string[] arguments =
        [
            "--port", $"{Port}", "--bind", "127.0.0.1", "--dir", _directory, "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no", .. _settings, .. more,
        ];
        _process = await ServerProcess.StartAsync("redis-server", arguments, ready);
    }

    public void Signal(string name) => _process!.Signal(name);

    /// <summary>kill -9.</summary>
    public async Task KillAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _process = null;
    }

    /// <summary>Its append-only file as it is now.</summary>
    public IReadOnlyDictionary<string, byte[]> Copy() =>
        Directory.GetFiles(_directory, "*", SearchOption.AllDirectories).ToDictionary(file => Path.GetRelativePath(_directory, file), File.ReadAllBytes);

    /// <summary>Puts an older file in its place, while it does not run: what a failover to a replica that lags behind looks like.</summary>
    public void Restore(IReadOnlyDictionary<string, byte[]> copy)
    {
        foreach (var (name, bytes) in copy) File.WriteAllBytes(Path.Combine(_directory, name), bytes);
    }

    /// <summary>What redis-cli prints.</summary>
    public string Cli(params string[] arguments) => Cli(Port, arguments);

    public static string Cli(int port, params string[] arguments)
    {
        var start = new ProcessStartInfo("redis-cli") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["-p", $"{port}", .. arguments]) start.ArgumentList.Add(argument);
        using var cli = Process.Start(start)!;
        var output = cli.StandardOutput.ReadToEnd();
        cli.WaitForExit();
        return cli.ExitCode == 0 ? output.Trim() : throw new InvalidOperationException($"redis-cli {string.Join(' ', arguments)}: {output}{cli.StandardError.ReadToEnd()}");
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        Directory.Delete(_directory, recursive: true);
    }
}
