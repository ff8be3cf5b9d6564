using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace Sagas.MassTransit;

/// <summary>How RabbitMQ is reached, configuration section <c>Sagas:RabbitMq</c>; validated when the host starts. No message ever shows the password.</summary>
public sealed class RabbitMqOptions
{
    /// <summary>Where RabbitMQ is, <c>amqp://user:password@host:port/virtual-host</c>; <c>amqps://</c> for TLS. Default <c>amqp://localhost</c>: port 5672 (TLS: 5671), virtual host <c>/</c>, user and password <c>guest</c>.</summary>
    public string Url { get; set; } = "amqp://localhost";

    /// <summary>The user; null (the default): the one in <see cref="Url"/>.</summary>
    public string? Username { get; set; }

    /// <summary>The password; null (the default): the one in <see cref="Url"/>. Better kept here, in a secret store or the environment.</summary>
    public string? Password { get; set; }

    /// <summary>The nodes of a cluster, as <c>host</c> or <c>host:port</c>, tried in any order, in one text with <c>;</c> between them or as a list; empty (the default): the one in <see cref="Url"/>.</summary>
    public IList<string> Hosts { get; } = [];

    /// <summary>TLS, used when <see cref="Url"/> begins with <c>amqps://</c>.</summary>
    public RabbitMqTls Tls { get; } = new();

    /// <summary>The kind of the queues that are not there yet. Default quorum: replicated in a cluster. A server that knows no quorum queues makes classic ones.</summary>
    public QueueKind Queues { get; set; } = QueueKind.Quorum;

    /// <summary>How many envelopes RabbitMQ hands to a consumer ahead of their being answered. Default 256.</summary>
    [Range(1, 65535, ErrorMessage = "Sagas:RabbitMq:Prefetch must lie between 1 and 65535 envelopes.")]
    public int Prefetch { get; set; } = 256;

    /// <summary>After twice this time without a sign of life a connection counts as lost. Default 10 s.</summary>
    public TimeSpan Heartbeat { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a node's reply queue outlives the node. Default 30 minutes.</summary>
    public TimeSpan ReplyQueueExpiry { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>Where RabbitMQ is, without user and password.</summary>
    public override string ToString() => Address;

    /// <summary>The same: for messages.</summary>
    internal string Address => $"{(IsTls ? "amqps" : "amqp")}://{string.Join(',', Endpoints().Select(e => string.Create(CultureInfo.InvariantCulture, $"{e.HostName}:{e.Port}")))}{(VirtualHost == "/" ? "" : "/" + VirtualHost)}";

    internal (string Host, int Port) Server => Endpoints().Select(e => (e.HostName, e.Port)).First();

    internal string User => Username ?? UserInfo.User;

    private string VirtualHost => Uri.AbsolutePath is "" or "/" ? "/" : Uri.UnescapeDataString(Uri.AbsolutePath[1..]);

    private bool IsTls => Uri.Scheme == "amqps";

    private Uri Uri => new(Url);

    private (string User, string Password) UserInfo
    {
        get
        {
            var parts = Uri.UserInfo.Split(':', 2);
            return (parts[0] is "" ? "guest" : Uri.UnescapeDataString(parts[0]), parts.Length < 2 ? "guest" : Uri.UnescapeDataString(parts[1]));
        }
    }

    /// <summary>Sets up a factory, MassTransit's too: its own defaults accept certificates that nobody has signed.</summary>
    internal void Apply(ConnectionFactory factory)
    {
        var endpoints = Endpoints().ToArray();
        factory.EndpointResolverFactory = _ => new DefaultEndpointResolver(endpoints);
        factory.VirtualHost = VirtualHost;
        factory.UserName = User;
        factory.Password = Password ?? UserInfo.Password;
        factory.AutomaticRecoveryEnabled = false;
        factory.RequestedHeartbeat = Heartbeat;
        factory.RequestedConnectionTimeout = factory.ContinuationTimeout = factory.HandshakeContinuationTimeout = TimeSpan.FromSeconds(10);
    }

    private IEnumerable<AmqpTcpEndpoint> Endpoints()
    {
        var standard = IsTls ? 5671 : 5672;
        if (Hosts.Count == 0) return [Endpoint(Uri.Host, Uri.IsDefaultPort || Uri.Port < 0 ? standard : Uri.Port)];
        return Hosts.Select(host => host.Split(':')).Select(parts => Endpoint(parts[0], parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : standard));
    }

    private AmqpTcpEndpoint Endpoint(string host, int port) => new(host, port, IsTls ? Tls.Option(host) : new SslOption());
}

/// <summary>The kind of a queue.</summary>
public enum QueueKind
{
    /// <summary>Durable and replicated over a cluster's nodes.</summary>
    Quorum,
    /// <summary>Durable on one node.</summary>
    Classic,
}

/// <summary>TLS to RabbitMQ.</summary>
public sealed class RabbitMqTls
{
    /// <summary>The name that the server's certificate must bear; null (the default): the host's.</summary>
    public string? ServerName { get; set; }

    /// <summary>A PEM file with the authority that signed the server's certificate; null (the default): those the machine trusts.</summary>
    public string? CaFile { get; set; }

    /// <summary>A PEM file with this client's certificate; null (the default): none.</summary>
    public string? CertificateFile { get; set; }

    /// <summary>A PEM file with the certificate's key; null (the default): it is in <see cref="CertificateFile"/>.</summary>
    public string? KeyFile { get; set; }

    internal SslOption Option(string host)
    {
        var option = new SslOption(ServerName ?? host, enabled: true) { Version = SslProtocols.None, AcceptablePolicyErrors = SslPolicyErrors.None };
        if (CertificateFile is not null) option.Certs = [X509Certificate2.CreateFromPemFile(CertificateFile, KeyFile)];
        if (CaFile is null) return option;
        var authorities = new X509Certificate2Collection();
        authorities.ImportFromPemFile(CaFile);
        option.CertificateValidationCallback = (_, certificate, chain, errors) =>
        {
            if (certificate is null || chain is null || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;    // a private authority seldom publishes a list
            return chain.Build(new X509Certificate2(certificate));
        };
        return option;
    }
}

/// <summary>What attributes cannot say. A value may hold the password, so it is shown without.</summary>
internal sealed partial class RabbitMqOptionsCheck : IValidateOptions<RabbitMqOptions>
{
    public ValidateOptionsResult Validate(string? name, RabbitMqOptions options)
    {
        var faults = new List<string>();
        if (!Uri.TryCreate(options.Url, UriKind.Absolute, out var url) || url.Scheme is not ("amqp" or "amqps") || url.Host.Length == 0)
            faults.Add($"Sagas:RabbitMq:Url is '{Redacted(options.Url)}'. Give amqp://host:port/virtual-host, or amqps:// for TLS.");
        else if (url.AbsolutePath.Length > 1 && url.AbsolutePath.IndexOf('/', 1) >= 0)
            faults.Add($"Sagas:RabbitMq:Url is '{Redacted(options.Url)}', with a virtual host of more than one part. Write a slash in its name as %2F.");
        foreach (var host in options.Hosts)
            if (!HostPattern().IsMatch(host)) faults.Add($"Sagas:RabbitMq:Hosts has '{host}'. Give host or host:port.");
        if (options.Heartbeat < TimeSpan.FromSeconds(1) || options.Heartbeat > TimeSpan.FromHours(1))
            faults.Add($"Sagas:RabbitMq:Heartbeat is {options.Heartbeat}. Give a time from 00:00:01 to 01:00:00.");
        if (options.ReplyQueueExpiry < TimeSpan.FromSeconds(1) || options.ReplyQueueExpiry > TimeSpan.FromDays(20))
            faults.Add($"Sagas:RabbitMq:ReplyQueueExpiry is {options.ReplyQueueExpiry}. Give a time from 00:00:01 to 20.00:00:00.");
        if (!Enum.IsDefined(options.Queues)) faults.Add($"Sagas:RabbitMq:Queues is {options.Queues}. Give quorum or classic.");
        foreach (var (key, file) in new[] { ("CaFile", options.Tls.CaFile), ("CertificateFile", options.Tls.CertificateFile), ("KeyFile", options.Tls.KeyFile) })
            if (file is not null && !File.Exists(file)) faults.Add($"Sagas:RabbitMq:Tls:{key} is '{file}', which is not there. Name a PEM file.");
        if (faults.Count == 0 && url!.Scheme == "amqps")
        {
            try
            {
                options.Tls.Option(url.Host);
            }
            catch (Exception e) when (e is System.Security.Cryptography.CryptographicException or IOException or UnauthorizedAccessException)
            {
                faults.Add($"Sagas:RabbitMq:Tls cannot be used: {e.Message} Give PEM files: CaFile with certificates, CertificateFile with a certificate, and its key there or in KeyFile.");
            }
        }
        return faults.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(faults);
    }

    /// <summary>The text with *** for whatever stands before its last @.</summary>
    internal static string Redacted(string? url) => UserInfoPattern().Replace(url ?? "", "$1***@");

    [GeneratedRegex(@"^([^/]*//)?.*@", RegexOptions.Singleline)]
    private static partial Regex UserInfoPattern();

    [GeneratedRegex(@"^[A-Za-z0-9._-]+(:[0-9]{1,5})?\z")]
    private static partial Regex HostPattern();
}
