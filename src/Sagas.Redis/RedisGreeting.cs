using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using StackExchange.Redis;

namespace Sagas.Redis;

/// <summary>Greets a Redis that cannot be used, to find out why: the client library says only that there is no connection.</summary>
internal static class RedisGreeting
{
    /// <summary>What is wrong with the first server that something is wrong with; null: each of them answers as it should.</summary>
    public static async Task<string?> FaultAsync(ConfigurationOptions settings, TimeSpan timeout)
    {
        foreach (var endpoint in settings.EndPoints)
        {
            var (host, port) = endpoint switch
            {
                DnsEndPoint dns => (dns.Host, dns.Port),
                IPEndPoint ip => (ip.Address.ToString(), ip.Port),
                _ => ("", 0),
            };
            if (host.Length == 0) continue;
            if (port == 0) port = settings.Ssl ? 6380 : 6379;
            var server = string.Create(CultureInfo.InvariantCulture, $"{host}:{port}");
            using var patience = new CancellationTokenSource(timeout);
            try
            {
                if (await AnswerAsync(settings, host, port, patience.Token).ConfigureAwait(false) is not { } answer) continue;
                return answer.StartsWith("NOAUTH", StringComparison.Ordinal) ? $"{server} wants a password. Add ',password=…'."
                    : answer.Contains("WRONGPASS", StringComparison.Ordinal) || answer.Contains("password", StringComparison.OrdinalIgnoreCase) ? $"{server} refuses the password: {answer}."
                    : $"{server} answers: {answer}.";
            }
            catch (SocketException e)
            {
                return $"{server} cannot be reached: {e.Message}. Is Redis running there?";
            }
            catch (Exception e) when (settings.Ssl && (e is AuthenticationException or IOException or OperationCanceledException))
            {
                var why = e is OperationCanceledException ? "it does not answer the handshake" : e.Message.TrimEnd('.');
                return $"{server} cannot be spoken to by TLS, which ssl=true asks for: {why}. Does it speak TLS on this port, and is its certificate for this name (sslHost=…) and from an authority that this machine trusts?";
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                return $"{server} does not answer as Redis does. Is it another server's port, or does it want TLS (ssl=true)?";
            }
        }
        return null;
    }

    /// <summary>What it answers that is no greeting; null: it greets.</summary>
    private static async Task<string?> AnswerAsync(ConfigurationOptions settings, string host, int port, CancellationToken cancel)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(host, port, cancel).ConfigureAwait(false);
        Stream stream = socket.GetStream();
        await using var wire = stream.ConfigureAwait(false);
        if (settings.Ssl)
        {
            var tls = new SslStream(stream);
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = settings.SslHost ?? host }, cancel).ConfigureAwait(false);
            stream = tls;
        }
        var password = settings.Password ?? "";
        var greeting = (password.Length == 0 ? "" : $"*2\r\n$4\r\nAUTH\r\n${Encoding.UTF8.GetByteCount(password)}\r\n{password}\r\n") + "*1\r\n$4\r\nPING\r\n";
        await stream.WriteAsync(Encoding.UTF8.GetBytes(greeting), cancel).ConfigureAwait(false);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        for (var lines = password.Length == 0 ? 1 : 2; lines > 0; lines--)
        {
            var line = await reader.ReadLineAsync(cancel).ConfigureAwait(false) ?? throw new IOException("It hung up.");
            if (line.StartsWith('-')) return line[1..].TrimEnd('.');
            if (!line.StartsWith('+')) throw new IOException("It answers something else.");
        }
        return null;
    }
}
