using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Orders;

/// <summary>
/// A process that is started again when it dies, and that ends with this one, however this one ends: a shell between them passes on the signals that are written to
/// it, and kills when its input closes. By setsid neither is reached by the Ctrl-C of a terminal or by what kills this process's group: in what order they stop is
/// decided here.
/// </summary>
public sealed class Child(string name, string program, string[] arguments, string ready, IReadOnlyDictionary<string, string>? environment = null, bool speaks = true)
{
    private const string Guard = """
        trap '' INT HUP
        exec 3<&0
        "$@" </dev/null 3<&- & child=$!
        echo "pid $child"
        exec 2>/dev/null
        { while read -r signal; do kill -"$signal" "$child"; done; kill -9 "$child"; } <&3 & reader=$!
        wait "$child"; code=$?
        kill "$reader"
        exit "$code"
        """;

    private static readonly TimeSpan Breath = TimeSpan.FromSeconds(1), LongestStart = TimeSpan.FromMinutes(1), LongestStop = TimeSpan.FromSeconds(15);

    private readonly Queue<string> _said = [];
    private readonly TaskCompletionSource _isLost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Process? _guard;
    private Task _keeping = Task.CompletedTask;
    private volatile bool _isStopping;

    public string Name => name;

    public int Pid { get; private set; }

    /// <summary>Ends when the process has died and could not be started again.</summary>
    public Task Lost => _isLost.Task;

    /// <summary>Starts it, and returns when it has said that it is ready.</summary>
    /// <exception cref="InvalidOperationException">It was not, with what it said.</exception>
    public async Task StartAsync()
    {
        await BeginAsync();
        _keeping = KeepAsync();
    }

    /// <summary>Sends it a signal: KILL, TERM.</summary>
    public void Signal(string signal)
    {
        try
        {
            _guard?.StandardInput.WriteLine(signal);
            _guard?.StandardInput.Flush();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // It has ended.
        }
    }

    /// <summary>Asks it to stop, and makes it stop when it does not within 15 s.</summary>
    public async Task StopAsync(string signal)
    {
        _isStopping = true;
        if (_guard is { } guard)
        {
            Signal(signal);
            await guard.WaitForExitAsync().WaitAsync(LongestStop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            End(guard);
            await guard.WaitForExitAsync();
        }
        await _keeping;
    }

    private async Task KeepAsync()
    {
        while (true)
        {
            await _guard!.WaitForExitAsync();
            if (_isStopping) return;
            Console.WriteLine($"{name} (pid {Pid}) has ended with code {_guard.ExitCode}, and is started again.");
            await Task.Delay(Breath);
            if (_isStopping) return;
            try
            {
                await BeginAsync();
                Console.WriteLine($"{name} is back (pid {Pid}).");
            }
            catch (InvalidOperationException e)
            {
                if (!_isStopping) Console.Error.WriteLine(e.Message);
                _isLost.TrySetResult();
                return;
            }
        }
    }

    private async Task BeginAsync()
    {
        string[] shell = ["/bin/sh", "-c", Guard, "sh", program, .. arguments];
        if (PrivateServers.Find("setsid") is { } setsid) shell = [setsid, .. shell];
        var start = new ProcessStartInfo(shell[0], shell[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (key, value) in environment ?? new Dictionary<string, string>()) start.Environment[key] = value;
        var guard = Process.Start(start)!;
        var isReady = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _guard = guard;
        if (_isStopping) End(guard);
        guard.OutputDataReceived += (_, line) => Hear(line.Data);
        guard.ErrorDataReceived += (_, line) => Hear(line.Data);
        guard.BeginOutputReadLine();
        guard.BeginErrorReadLine();
        var ended = guard.WaitForExitAsync();
        if (await Task.WhenAny(isReady.Task, ended, Task.Delay(LongestStart)) == isReady.Task) return;
        End(guard);
        await ended;
        throw new InvalidOperationException($"{name} did not start. It said:\n{Said()}");

        void Hear(string? line)
        {
            if (line is null) return;
            if (line.StartsWith("pid ", StringComparison.Ordinal) && int.TryParse(line[4..], CultureInfo.InvariantCulture, out var pid)) Pid = pid;
            else if (line.Contains(ready, StringComparison.Ordinal)) isReady.TrySetResult();
            else if (speaks && isReady.Task.IsCompleted && !_isStopping) Console.WriteLine($"[{name}] {line}");
            lock (_said)
            {
                _said.Enqueue(line);
                if (_said.Count > 30) _said.Dequeue();
            }
        }
    }

    private string Said()
    {
        lock (_said) return string.Join('\n', _said);
    }

    private static void End(Process guard)
    {
        try
        {
            guard.StandardInput.Close();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // It has ended.
        }
    }
}

/// <summary>A redis-server and a rabbitmq-server of one's own, on free ports of this machine, that stand beside any other.</summary>
public static class PrivateServers
{
    private static readonly string[] s_elsewhere = ["/usr/sbin", "/usr/lib/rabbitmq/bin"];

    /// <summary>What is not installed.</summary>
    public static IEnumerable<string> Missing() => new[] { "redis-server", "rabbitmq-server" }.Where(program => Find(program) is null);

    /// <summary>Where Redis is.</summary>
    public static async Task<string> StartRedisAsync(string data, Func<Child, Task> start)
    {
        var port = FreePorts(1)[0];
        var directory = Directory.CreateDirectory(Path.Combine(data, "redis")).FullName;
        await start(new Child("redis-server", Find("redis-server")!,
            ["--port", $"{port}", "--bind", "127.0.0.1", "--dir", directory, "--appendonly", "yes", "--appendfsync", "always", "--save", ""], "Ready to accept connections",
            speaks: false));
        return $"127.0.0.1:{port}";
    }

    /// <summary>Where RabbitMQ is. Before it starts the name server that Erlang wants: without one of its own it would start one that stays.</summary>
    public static async Task<string> StartRabbitMqAsync(string data, Func<Child, Task> start)
    {
        var ports = FreePorts(3);
        var directory = Directory.CreateDirectory(Path.Combine(data, "rabbitmq")).FullName;
        await File.WriteAllTextAsync(Path.Combine(directory, "plugins"), "[].");
        await File.WriteAllTextAsync(Path.Combine(directory, "rabbitmq.conf"), "");
        // Debian's program of that name on the path changes its user first.
        var program = Path.Combine(s_elsewhere[1], "rabbitmq-server") is var debian && File.Exists(debian) ? debian : Find("rabbitmq-server")!;
        var environment = new Dictionary<string, string>
        {
            ["HOME"] = directory,                           // the cookie
            ["RABBITMQ_NODENAME"] = $"orders{ports[0]}@localhost",
            ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_NODE_PORT"] = $"{ports[0]}",
            ["RABBITMQ_DIST_PORT"] = $"{ports[1]}",
            ["ERL_EPMD_PORT"] = $"{ports[2]}",
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_MNESIA_BASE"] = Path.Combine(directory, "data"),
            ["RABBITMQ_LOG_BASE"] = directory,
            ["RABBITMQ_LOGS"] = "-",
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(directory, "plugins"),
            ["RABBITMQ_CONFIG_FILE"] = Path.Combine(directory, "rabbitmq"),
            ["RABBITMQ_PID_FILE"] = Path.Combine(directory, "pid"),
            ["RABBITMQ_ALLOW_INPUT"] = "1",                 // or else a shell stands between, and what it started survives it
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-noinput",
        };
        var names = new Child("epmd", Find("epmd") ?? "epmd", ["-d", "-port", $"{ports[2]}", "-address", "127.0.0.1"], "epmd running", speaks: false);
        await start(names);
        try
        {
            await start(new Child("rabbitmq-server", program, [], "Server startup complete", environment, speaks: false));
        }
        catch
        {
            await names.StopAsync("KILL");
            throw;
        }
        return $"amqp://127.0.0.1:{ports[0]}";
    }

    /// <summary>Ports that were free a moment ago.</summary>
    public static int[] FreePorts(int count)
    {
        var taken = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var listener in taken) listener.Start();
        var ports = taken.Select(listener => ((IPEndPoint)listener.LocalEndpoint).Port).ToArray();
        foreach (var listener in taken) listener.Dispose();
        return ports;
    }

    /// <summary>Where a program is; null: it is not installed.</summary>
    public static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
        .Concat(s_elsewhere).Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
}
