using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace Sagas.Tests.MassTransit;

/// <summary>A RabbitMQ of the tests' own: its own ports, node name, name server, data and home, so that it stands beside any other.</summary>
internal sealed class RabbitServer : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);
    private readonly string _directory = Directory.CreateTempSubdirectory("sagas-rabbit-").FullName;
    private readonly Dictionary<string, string> _environment;
    private readonly string _user;
    private readonly int _names;
    private ServerProcess? _nameServer, _process;

    private RabbitServer(int port, int distribution, int names, int tls, bool isOld)
    {
        (Port, TlsPort, _names, _user) = (port, tls, names, isOld ? "sagas:p%40ss%2F1@" : "");
        File.WriteAllText(Path.Combine(_directory, "plugins"), "[].");
        File.WriteAllText(Path.Combine(_directory, "rabbitmq.conf"), isOld ? Strict(tls) : "");
        _environment = new Dictionary<string, string>
        {
            ["HOME"] = _directory,                          // the cookie
            ["RABBITMQ_NODENAME"] = $"sagas{port}@localhost",
            ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_NODE_PORT"] = $"{port}",
            ["RABBITMQ_DIST_PORT"] = $"{distribution}",
            ["ERL_EPMD_PORT"] = $"{names}",
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_MNESIA_BASE"] = Path.Combine(_directory, "data"),
            ["RABBITMQ_LOG_BASE"] = _directory,
            ["RABBITMQ_LOGS"] = "-",
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(_directory, "plugins"),
            ["RABBITMQ_CONFIG_FILE"] = Path.Combine(_directory, "rabbitmq"),
            ["RABBITMQ_PID_FILE"] = Path.Combine(_directory, "pid"),
            ["RABBITMQ_ALLOW_INPUT"] = "1",                 // or else a shell stands between, and what it started survives it
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-noinput",
        };
        if (isOld) _environment["RABBITMQ_FEATURE_FLAGS"] = "implicit_default_bindings";     // all that it shall have of what is newer than 3.7
    }

    public int Port { get; }

    /// <summary>Where the server of <see cref="OldAsync"/> hears TLS.</summary>
    public int TlsPort { get; }

    /// <summary>The authority that signed its certificate, and the certificate that it takes from clients.</summary>
    public (string Authority, string Client, string ClientKey) Files => (In("authority.pem"), In("client.pem"), In("client.key"));

    public string Url => $"amqp://{_user}127.0.0.1:{Port}";

    /// <summary>The server that tests share; each uses names of its own.</summary>
    public static Task<RabbitServer> SharedAsync() => Servers.ShareAsync("rabbitmq", StartAsync);

    /// <summary>
    /// One that knows no quorum queues, but TLS, with a user <c>sagas</c> whose password is <c>p@ss/1</c>, and asks for a certificate there. Its tests break it, one
    /// after the other, and mend it.
    /// </summary>
    public static Task<RabbitServer> OldAsync() => Servers.ShareAsync("old rabbitmq", () => StartAsync(isOld: true));

    /// <summary>A server of one's own; dispose it.</summary>
    public static Task<RabbitServer> StartAsync() => StartAsync(isOld: false);

    private static async Task<RabbitServer> StartAsync(bool isOld)
    {
        for (var attempt = 1; ; attempt++)
        {
            var ports = Servers.FreePorts(4);
            var server = new RabbitServer(ports[0], ports[1], ports[2], ports[3], isOld);
            try
            {
                server._nameServer = await ServerProcess.StartAsync("epmd", ["-d", "-port", $"{server._names}", "-address", "127.0.0.1"], "epmd running");
                await server.BeginAsync();
                return server;
            }
            catch (InvalidOperationException) when (attempt < 3)
            {
                // Somebody took a port meanwhile.
                await server.DisposeAsync();
            }
        }
    }

    /// <summary>Starts it on the data that it left.</summary>
    public async Task BeginAsync() => _process = await ServerProcess.StartAsync(Program("rabbitmq-server"), [], "Server startup complete", _environment);

    /// <summary>The last that it printed.</summary>
    public string Output => _process?.Output ?? "";

    public void Signal(string name) => _process!.Signal(name);

    /// <summary>kill -9.</summary>
    public async Task KillAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _process = null;
    }

    /// <summary>What rabbitmqctl prints.</summary>
    public async Task<string> CtlAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo(Program("rabbitmqctl")) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["--quiet", .. arguments]) start.ArgumentList.Add(argument);
        foreach (var (key, value) in _environment) start.Environment[key] = value;
        using var ctl = Process.Start(start)!;
        var error = ctl.StandardError.ReadToEndAsync();
        var output = await ctl.StandardOutput.ReadToEndAsync().WaitAsync(s_patience);
        await ctl.WaitForExitAsync().WaitAsync(s_patience);
        return ctl.ExitCode == 0 ? output.Trim() : throw new InvalidOperationException($"rabbitmqctl {string.Join(' ', arguments)}: {output}{await error}");
    }

    /// <summary>The queues with that text in their names, as <c>name kind</c>, in order.</summary>
    public async Task<string[]> QueuesAsync(string text) =>
        [.. (await CtlAsync("list_queues", "name", "type", "--no-table-headers")).Split('\n').Where(line => line.Contains(text, StringComparison.Ordinal)).Select(line => line.Replace('\t', ' ')).Order()];

    /// <summary>Returns when that queue is there and holds so many messages.</summary>
    public async Task HoldsAsync(string queue, int count = 1)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(Url) }.CreateConnectionAsync();
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < s_patience;)
        {
            await using var channel = await connection.CreateChannelAsync();
            try
            {
                if ((await channel.QueueDeclarePassiveAsync(queue)).MessageCount >= count) return;
            }
            catch (OperationInterruptedException)
            {
                // There is none yet.
            }
        }
        throw new TimeoutException($"The queue {queue} does not hold {count} messages after {s_patience.TotalSeconds} s.");
    }

    /// <summary>Deletes a queue and what is in it, and makes a quorum queue of that name at once if asked to.</summary>
    public async Task DeleteAsync(string queue, bool again = false)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(Url) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync();
        await channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        if (again) await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum" });
    }

    /// <summary>Takes the first message of a queue so many times and gives it back, as consumers do that crash over it.</summary>
    public async Task TakeAndGiveBackAsync(string queue, int times)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(Url) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync();
        for (var taken = 0; taken < times;)
            if (await channel.BasicGetAsync(queue, autoAck: false) is { } got)
            {
                await channel.BasicNackAsync(got.DeliveryTag, multiple: false, requeue: true);
                taken++;
            }
    }

    /// <summary>Sends a text to a queue, as any client may, as soon as it is there.</summary>
    public async Task SendAsync(string queue, string text)
    {
        await using var connection = await new ConnectionFactory { Uri = new Uri(Url) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true));
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < s_patience;)
        {
            try
            {
                await channel.BasicPublishAsync("", queue, mandatory: true, Encoding.UTF8.GetBytes(text));
                return;
            }
            catch (PublishException e) when (e.IsReturn)
            {
                // There is none yet.
            }
        }
        throw new TimeoutException($"There is no queue {queue} after {s_patience.TotalSeconds} s.");
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        if (_nameServer is not null) await _nameServer.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private string In(string file) => Path.Combine(_directory, file);

    /// <summary>Makes an authority and two certificates by it, one for this server's name and one for its clients, and says to use them.</summary>
    private string Strict(int tls)
    {
        var (from, to) = (DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(7));
        using var authorityKey = RSA.Create(2048);
        var request = new CertificateRequest("CN=an authority", authorityKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        using var authority = request.CreateSelfSigned(from, to);
        File.WriteAllText(In("authority.pem"), authority.ExportCertificatePem());
        foreach (var name in (string[])["server", "client"])
        {
            using var key = RSA.Create(2048);
            var wanted = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName("rabbit.example");
            wanted.CertificateExtensions.Add(names.Build());
            using var certificate = wanted.Create(authority, from, to, Guid.NewGuid().ToByteArray());
            File.WriteAllText(In($"{name}.pem"), certificate.ExportCertificatePem());
            File.WriteAllText(In($"{name}.key"), key.ExportPkcs8PrivateKeyPem());
        }
        return $"""
            default_user = sagas
            default_pass = p@ss/1
            listeners.ssl.1 = 127.0.0.1:{tls}
            ssl_options.cacertfile = {In("authority.pem")}
            ssl_options.certfile = {In("server.pem")}
            ssl_options.keyfile = {In("server.key")}
            ssl_options.verify = verify_peer
            ssl_options.fail_if_no_peer_cert = true

            """;
    }

    // Debian's program of that name on the path changes its user first.
    private static string Program(string name) => Path.Combine("/usr/lib/rabbitmq/bin", name) is var path && File.Exists(path) ? path : name;
}
